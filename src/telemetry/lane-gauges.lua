-- What waits in lanes.
--
-- KEYS  1 outbox   2 refused manifests   then the state of each lane
-- Answers {now (ms), manifests in the outbox, refused manifests, lane …}, a lane being {pending rows, bytes, since (ms), failures in a row}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answer = {now, redis.call('XLEN', KEYS[1]), redis.call('XLEN', KEYS[2])}
for i = 3, #KEYS do
  local state = redis.call('HMGET', KEYS[i], 'rows', 'bytes', 'oldest', 'fails')
  answer[i + 1] = {tonumber(state[1] or 0), tonumber(state[2] or 0), tonumber(state[3] or 0), tonumber(state[4] or 0)}
end
return answer
