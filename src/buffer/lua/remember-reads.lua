#!lua flags=allow-oom
-- Keeps who answers a dataset's queries, for functions that do not know it, unless something newer is kept already.
--
-- KEYS  1 reads   ARGV  1 dataset   2 revision of the dataset   3 off | compare | on
-- Answers 0, or the newer revision that is kept.
local known = redis.call('HGET', KEYS[1], ARGV[1])
local revision = known and tonumber(string.match(known, '^%d+')) or 0
if revision > tonumber(ARGV[2]) then return revision end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ARGV[3])
return 0
