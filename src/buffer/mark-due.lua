#!lua flags=allow-oom
-- Adds the lanes with pending rows to the due set that are not in it, as after a loss of that key.
--
-- KEYS  1 due lanes   then the state of each lane
-- ARGV  the lanes as members of the due set
-- Answers the number of lanes that were added.
local added = 0
for i = 2, #KEYS do
  local state = redis.call('HMGET', KEYS[i], 'seq', 'w', 'oldest', 'retry')
  if state[1] and state[1] ~= state[2] then
    local due = math.max(tonumber(state[3] or 0), tonumber(state[4] or 0))
    added = added + redis.call('ZADD', KEYS[1], 'NX', string.format('%.0f', due), ARGV[i - 1])
  end
end
return added
