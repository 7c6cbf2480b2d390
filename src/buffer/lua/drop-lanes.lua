#!lua flags=allow-oom
-- Forgets a table that was dropped: its lanes with all that waits in them, and its definition, which must not come back
-- from whoever read it before.
--
-- KEYS  1 where the definition is kept   2 due lanes   then state, log and lease of each lane
-- ARGV  1 life   then each lane as a member of the due set
-- Answers the number of rows that were waiting.
local rows = 0
for i = 3, #KEYS, 3 do
  rows = rows + tonumber(redis.call('HGET', KEYS[i], 'rows') or 0)
  redis.call('DEL', KEYS[i], KEYS[i + 1], KEYS[i + 2])
  redis.call('ZREM', KEYS[2], ARGV[1 + i / 3])
end
if tonumber(redis.call('HGET', KEYS[1], 'life') or 0) <= tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'life', ARGV[1], 'version', 2 ^ 53, 'revision', 2 ^ 53)
  redis.call('HDEL', KEYS[1], 'definition')
end
return rows
