#!lua flags=allow-oom
-- Marks the copy of a dataset's alert state as out of date, before the transaction that makes a version.
--
-- KEYS  alertsKey  the copy
-- ARGV  version    the version that is about to be made
--- @include "clock"
local alertsKey = unpack(KEYS)
local version = unpack(ARGV)
local dirty = tonumber(redis.call('HGET', alertsKey, 'dirty') or '0')
redis.call('HSET', alertsKey, 'dirty', math.max(dirty, tonumber(version)), 'dirtyAt', clock_ms())
return {}
