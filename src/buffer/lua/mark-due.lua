#!lua flags=allow-oom
-- Adds the lanes with pending rows to the due set that are not in it, as after a loss of that key, and compares their logs
-- with their states.
--
-- KEYS  1 due lanes   then state and log of each lane, in turn
-- ARGV  the lanes as members of the due set
-- Answers {lanes that were added, lane …}, a lane being {batches and rows that wait by its state, batches in its log, 1 when
--         the log ends with another batch than the state says}; {} for one without a state.
local answer = {0}
for i = 1, #ARGV do
  local state = redis.call('HMGET', KEYS[2 * i], 'seq', 'w', 'oldest', 'retry', 'rows', 'at')
  local log = KEYS[2 * i + 1]
  if state[1] then
    local ending = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
    local isOther = false
    if ending and (state[6] or '') ~= '' then
      for j = 1, #ending[2], 2 do
        if ending[2][j] == 'at' then isOther = string.match(ending[1], '^%d+') .. ':' .. ending[2][j + 1] ~= state[6] end
      end
    end
    answer[i + 1] = {tonumber(state[1]) - tonumber(state[2]), tonumber(state[5]), redis.call('XLEN', log), isOther and 1 or 0}
    if state[1] ~= state[2] then
      local due = math.max(tonumber(state[3] or 0), tonumber(state[4] or 0))
      answer[1] = answer[1] + redis.call('ZADD', KEYS[1], 'NX', string.format('%.0f', due), ARGV[i])
    end
  else
    answer[i + 1] = {}
  end
end
return answer
