#!lua flags=allow-oom
-- Releases a lease that the caller still holds.
--
-- KEYS  lease   the lease
-- ARGV  token   token of the flusher
-- Returns 1, or 0 when the caller does not hold the lease.
local lease = unpack(KEYS)
local token = unpack(ARGV)
if redis.call('GET', lease) == token then return redis.call('DEL', lease) end
return 0
