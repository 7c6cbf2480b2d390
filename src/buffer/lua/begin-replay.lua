#!lua flags=allow-oom
-- Gives a turn to a replay of rows in quarantine. Earlier replays stage nothing from then on. The caller reads the open
-- rows after this reply, which names the rows that earlier replays have staged.
--
-- KEYS  replays   hash of the current turn, and of staged rows until they are settled
-- Returns {turn, id of a staged row, …}.
--- @include "clock"
--- @include "integer"
local replays = unpack(KEYS)
-- Turns start at the clock: no earlier life of this key has used one of them.
local turn = integer(math.max(tonumber(redis.call('HGET', replays, 'turn') or 0) + 1, clock_ms()))
redis.call('HSET', replays, 'turn', turn)
local answer = {turn}
for _, name in ipairs(redis.call('HKEYS', replays)) do
  if name ~= 'turn' then answer[#answer + 1] = name end
end
return answer
