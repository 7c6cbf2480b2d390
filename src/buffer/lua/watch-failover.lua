#!lua flags=allow-oom
-- Sets a key that disappears when the buffer fails over to a moment before this call.
--
-- KEYS  cut          the key
-- ARGV  watched_ms   when the key expires
local cut = unpack(KEYS)
local watched_ms = unpack(ARGV)
redis.call('SET', cut, '1', 'PX', watched_ms)
return 1
