-- The lanes with pending rows, the one that waits longest first.
--
-- KEYS  1 due lanes
-- ARGV  1 most lanes   2 '1' for those too whose next try is still to come after a failure
-- Answers their members.
if ARGV[2] == '1' then return redis.call('ZRANGE', KEYS[1], 0, ARGV[1] - 1) end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
return redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1])
