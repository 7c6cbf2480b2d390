#!lua flags=allow-oom
-- Leaves a key behind that a failover of this buffer takes away, if it takes anything away from before it.
--
-- KEYS  1 the key   ARGV  1 for how long (ms)
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
return 1
