#!lua flags=allow-oom
-- Forgets rows of a replay that are settled, and gives it a further turn: nothing that was sent under the last one, and
-- comes late, finds them forgotten.
--
-- KEYS  1 replays   ARGV  1 turn   then ids of rows
-- Answers {turn}, or {} when another replay has the turn.
if redis.call('HGET', KEYS[1], 'turn') ~= ARGV[1] then return {} end
for i = 2, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
local turn = string.format('%.0f', tonumber(ARGV[1]) + 1)
redis.call('HSET', KEYS[1], 'turn', turn)
return {turn}
