#!lua flags=allow-oom
-- Takes the lease of a lane. A caller whose reply was lost gets its own lease again.
--
-- KEYS  lease      the lease
-- ARGV  token      token of the flusher
--       lease_ms   how long the lease lasts
-- Returns 1, or 0 when another flusher has the lease.
local lease = unpack(KEYS)
local token, lease_ms = unpack(ARGV)
local holder = redis.call('GET', lease)
if holder and holder ~= token then return 0 end
redis.call('SET', lease, token, 'PX', lease_ms)
return 1
