#!lua flags=allow-oom
-- Keeps a copy of the configuration of a monitored dataset, unless its mark has changed since the copy was read.
--
-- KEYS  marks     hash of marks by dataset
--       copy      the copy of this dataset
-- ARGV  dataset
--       seen      the mark before the copy was read; '' for none
--       mark      the mark of the copy
--       config    the copy
-- Returns 1 if the copy is kept, otherwise 0.
local marks, copy = unpack(KEYS)
local dataset, seen, mark, config = unpack(ARGV)
if (redis.call('HGET', marks, dataset) or '') ~= seen then return 0 end
redis.call('SET', copy, config)
redis.call('HSET', marks, dataset, mark)
return 1
