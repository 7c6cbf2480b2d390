#!lua flags=allow-oom
-- Removes the lanes of a dropped table with all pending rows, and its cached definition. The number of the life stays,
-- so that a reader of an earlier definition cannot write that definition back.
--
-- KEYS  definition   cached definition of the table
--       due          due set
--       lanes        state, log and lease of each lane
-- ARGV  life         life of the dropped table
--       dueMembers   each lane in the due set
-- Returns the number of pending rows.
--- @include "rest"
local definition, due, lanes = unpackWithRest(KEYS, 2)
local life, dueMembers = unpackWithRest(ARGV, 1)
local rows = 0
for i, dueMember in ipairs(dueMembers) do
  local state, log, lease = unpack(lanes, 3 * i - 2, 3 * i)
  rows = rows + tonumber(redis.call('HGET', state, 'rows') or 0)
  redis.call('DEL', state, log, lease)
  redis.call('ZREM', due, dueMember)
end
if tonumber(redis.call('HGET', definition, 'life') or 0) <= tonumber(life) then
  redis.call('HSET', definition, 'life', life, 'version', 2 ^ 53, 'revision', 2 ^ 53)
  redis.call('HDEL', definition, 'definition')
end
return rows
