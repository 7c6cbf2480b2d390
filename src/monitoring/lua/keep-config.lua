#!lua flags=allow-oom
-- Keeps a copy of the configuration of a monitored dataset, unless its mark has changed since the copy was read.
--
-- KEYS  marks     hash of marks by dataset
--       copy      the copy of this dataset
-- ARGV  dataset
--       seen      the mark before the copy was read; '' for none
--       mark      the mark of the copy
--       config    the copy; '' for a dataset that is not monitored any more, which leaves neither copy nor mark
-- Returns 1 if this was done, otherwise 0.
local marks, copy = unpack(KEYS)
local dataset, seen, mark, config = unpack(ARGV)
if (redis.call('HGET', marks, dataset) or '') ~= seen then return 0 end
if config == '' then
  redis.call('DEL', copy)
  redis.call('HDEL', marks, dataset)
  return 1
end
redis.call('SET', copy, config)
redis.call('HSET', marks, dataset, mark)
return 1
