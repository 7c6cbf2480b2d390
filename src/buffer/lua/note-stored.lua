#!lua flags=allow-oom
-- Records the measured size of a dataset in ClickHouse. A repeated call changes nothing, and neither does a measurement
-- that a newer one has overtaken: the bytes buffered since the last measurement are subtracted once.
--
-- KEYS  quota            quota of the dataset
-- ARGV  before           measurement before this one; '' for none
--       look             id of this measurement
--       stored_bytes     size in ClickHouse
--       buffered_bytes   bytes buffered between the two measurements
-- Returns 1, or 0 when nothing was changed.
local quota = unpack(KEYS)
local before, look, stored_bytes, buffered_bytes = unpack(ARGV)
if (redis.call('HGET', quota, 'look') or '') ~= before then return 0 end
redis.call('HSET', quota, 'look', look, 'stored', stored_bytes)
-- Not a unary minus: Lua writes the negative of 0 as -0, which is no integer to Redis.
redis.call('HINCRBY', quota, 'since', 0 - buffered_bytes)
return 1
