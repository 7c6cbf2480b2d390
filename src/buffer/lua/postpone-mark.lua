#!lua flags=allow-oom
-- Postpones the look for work that begins now: whoever dies at this work leaves a mark.
--
-- KEYS  due         due set
-- ARGV  dueMember   the member that stands for the work
--       until_ms    time of the next look, if nothing else sets one
local due = unpack(KEYS)
local dueMember, until_ms = unpack(ARGV)
return redis.call('ZADD', due, until_ms, dueMember)
