#!lua flags=allow-oom
-- Gives a replay of rows in quarantine its turn. From then on no earlier replay stages anything: what one has staged and
-- not settled is answered here, and the rows that are open are read afterwards.
--
-- KEYS  1 replays
-- Answers {turn, ids of the rows that are staged and perhaps not settled …}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- Turns begin at the clock, so that no earlier life of this key has used one of them.
local turn = string.format('%.0f', math.max(tonumber(redis.call('HGET', KEYS[1], 'turn') or 0) + 1, now))
redis.call('HSET', KEYS[1], 'turn', turn)
local answer = {turn}
for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
  if name ~= 'turn' then answer[#answer + 1] = name end
end
return answer
