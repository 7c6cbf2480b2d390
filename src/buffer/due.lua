-- The lanes whose turn it is, the one that waits longest first.
--
-- KEYS  1 due lanes
-- ARGV  1 most lanes
-- Answers their members.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
return redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1])
