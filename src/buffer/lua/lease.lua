#!lua flags=allow-oom
-- Takes a lane's lease, or finds that the caller has it: after an answer that was lost it asks again.
--
-- KEYS  1 lease   ARGV  1 the flusher's token   2 how long it has it (ms)
-- Answers 1, or 0 when somebody else has it.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
