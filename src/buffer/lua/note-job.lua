#!lua flags=allow-oom
-- Sets the time of the next look for jobs, unless an earlier time is set already.
--
-- KEYS  due         due set
-- ARGV  dueMember   the member that stands for jobs
--       due_ms      time
local due = unpack(KEYS)
local dueMember, due_ms = unpack(ARGV)
return redis.call('ZADD', due, 'LT', due_ms, dueMember)
