#!lua flags=allow-oom
-- Puts a lane's next try off after a failed flush: twice as long each time, up to a limit. The same failure counts once.
--
-- KEYS  1 lane state   2 due lanes
-- ARGV  1 the lane as a member of the due set   2 first and 3 longest wait (ms)   4 name of the failure
-- Answers the wait (ms), or 0 where there is no such lane.
if redis.call('HEXISTS', KEYS[1], 'inc') == 0 then return 0 end
local known = redis.call('HMGET', KEYS[1], 'fails', 'failure')
local fails = tonumber(known[1] or 0) + (known[2] == ARGV[4] and 0 or 1)
local wait = math.min(tonumber(ARGV[3]), tonumber(ARGV[2]) * 2 ^ math.min(fails - 1, 20))
local time = redis.call('TIME')
local retry = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + wait)
redis.call('HSET', KEYS[1], 'fails', fails, 'failure', ARGV[4], 'retry', retry)
redis.call('ZADD', KEYS[2], 'XX', retry, ARGV[1])
return wait
