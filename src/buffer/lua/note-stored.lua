#!lua flags=allow-oom
-- Goes on from what ClickHouse was seen to hold of a dataset. Done again it changes nothing, and neither does a look that
-- another one has overtaken: bytes are taken off what was buffered since once.
--
-- KEYS  1 quota of the dataset
-- ARGV  1 look that this one began after, '' for none   2 name of this look   3 bytes held   4 bytes buffered between the two
-- Answers 1, or 0 where nothing was changed.
if (redis.call('HGET', KEYS[1], 'look') or '') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'look', ARGV[2], 'stored', ARGV[3])
-- Not its negative: Lua writes that of 0 as -0, which is no integer to Redis.
redis.call('HINCRBY', KEYS[1], 'since', 0 - ARGV[4])
return 1
