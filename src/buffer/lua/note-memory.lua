#!lua flags=allow-oom
-- Keeps how much of its memory the buffer uses, for scripts that stage. It is forgotten soon: what is out of date must not
-- keep rows off.
--
-- KEYS  1 memory   ARGV  1 used and 2 most bytes, '' where that is not known   3 how long it counts (ms)
local time = redis.call('TIME')
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'used', ARGV[1], 'at', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)))
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'max', ARGV[2]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[3])
