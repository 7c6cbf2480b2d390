#!lua flags=allow-oom
-- Sets the time of the next look for work, at the end of a look. A mark that was set meanwhile stays if it is earlier.
--
-- KEYS  due             due set
-- ARGV  dueMember       the member that stands for the work
--       postponed_ms    the time that this look set at its beginning
--       next_ms         time of the next look; empty: no work is left
local due = unpack(KEYS)
local dueMember, postponed_ms, next_ms = unpack(ARGV)
if tonumber(redis.call('ZSCORE', due, dueMember) or '') == tonumber(postponed_ms) then
  redis.call('ZREM', due, dueMember)
end
if next_ms == '' then return 0 end
return redis.call('ZADD', due, 'LT', next_ms, dueMember)
