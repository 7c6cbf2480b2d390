#!lua flags=allow-oom
-- Keeps who answers a dataset's queries, for functions that do not know it, unless something newer is kept already.
--
-- KEYS  1 reads   ARGV  1 dataset   2 revision of the dataset   3 off | compare | on
local known = redis.call('HGET', KEYS[1], ARGV[1])
if known and tonumber(string.match(known, '^%d+')) > tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ARGV[3])
return 1
