#!lua flags=allow-oom
-- Forgets settled rows of a replay and gives the replay its next turn. A request of the last turn that arrives late has
-- no effect: it would stage a forgotten row once more.
--
-- KEYS  replays   hash of the current turn and the staged rows
-- ARGV  turn      turn of the caller
--       rowIds    settled rows
-- Returns {turn}, or {} when another replay has the turn.
--- @include "integer"
--- @include "rest"
local replays = unpack(KEYS)
local turn, rowIds = unpackWithRest(ARGV, 1)
if redis.call('HGET', replays, 'turn') ~= turn then return {} end
for _, id in ipairs(rowIds) do redis.call('HDEL', replays, id) end
local nextTurn = integer(tonumber(turn) + 1)
redis.call('HSET', replays, 'turn', nextTurn)
return {nextTurn}
