#!lua flags=allow-oom
-- Has the clock look for jobs at a time, unless it does so earlier already.
--
-- KEYS  1 due lanes   ARGV  1 the member that stands for jobs   2 time (ms)
return redis.call('ZADD', KEYS[1], 'LT', ARGV[2], ARGV[1])
