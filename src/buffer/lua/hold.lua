#!lua flags=allow-oom
-- Prevents new seals of lanes for some time. An existing seal goes on.
--
-- KEYS  states    state of each lane
-- ARGV  hold_ms   how long; 0 ends the hold
-- Returns the number of lanes.
--- @include "clock"
--- @include "integer"
local states = KEYS
local hold_ms = unpack(ARGV)
local heldUntil_ms = integer(clock_ms() + hold_ms)
for _, state in ipairs(states) do
  if redis.call('HEXISTS', state, 'inc') == 1 then
    if hold_ms == '0' then redis.call('HDEL', state, 'hold') else redis.call('HSET', state, 'hold', heldUntil_ms) end
  end
end
return #states
