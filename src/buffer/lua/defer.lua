#!lua flags=allow-oom
-- Postpones the next try of a lane after a failed flush. The wait doubles with each failure, up to a limit. A failure
-- that is sent again counts once.
--
-- KEYS  state         lane state
--       due           due set
-- ARGV  dueMember     the lane in the due set
--       retry_ms      first wait
--       retry_ms_max  longest wait
--       failure       id of the failure
-- Returns the wait (ms), or 0 when the lane has no state.
--- @include "clock"
--- @include "hash"
--- @include "integer"
local state, due = unpack(KEYS)
local dueMember, retry_ms, retry_ms_max, failure = unpack(ARGV)
if redis.call('HEXISTS', state, 'inc') == 0 then return 0 end
local current = readHash(state, 'fails', 'failure')
local fails = tonumber(current.fails or 0) + (current.failure == failure and 0 or 1)
local wait_ms = math.min(tonumber(retry_ms_max), tonumber(retry_ms) * 2 ^ math.min(fails - 1, 20))
local retryAt_ms = integer(clock_ms() + wait_ms)
redis.call('HSET', state, 'fails', fails, 'failure', failure, 'retry', retryAt_ms)
redis.call('ZADD', due, 'XX', retryAt_ms, dueMember)
return wait_ms
