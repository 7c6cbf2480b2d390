#!lua flags=allow-oom
-- Adds lanes with pending rows to the due set when that set does not have them, for example after the loss of its key,
-- and compares each log with its state.
--
-- KEYS  due          due set
--       lanes        state and log of each lane
-- ARGV  dueMembers   each lane in the due set
-- Returns {number of added lanes, lane, …}. A lane is {pending batches and rows by the state, batches in the log, 1
--         when the log ends with another batch than the state says}, or {} without a state.
--- @include "hash"
--- @include "integer"
--- @include "log"
--- @include "rest"
local due, lanes = unpackWithRest(KEYS, 1)
local dueMembers = ARGV
local answer = {0}
for i, dueMember in ipairs(dueMembers) do
  local state, log = unpack(lanes, 2 * i - 1, 2 * i)
  local current = readHash(state, 'seq', 'w', 'oldest', 'retry', 'rows', 'at')
  if current.seq then
    answer[i + 1] = {tonumber(current.seq) - tonumber(current.w), tonumber(current.rows), redis.call('XLEN', log),
      endsDifferently(log, current.at) and 1 or 0}
    if current.seq ~= current.w then
      local due_ms = math.max(tonumber(current.oldest or 0), tonumber(current.retry or 0))
      answer[1] = answer[1] + redis.call('ZADD', due, 'NX', integer(due_ms), dueMember)
    end
  else
    answer[i + 1] = {}
  end
end
return answer
