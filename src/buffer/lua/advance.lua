#!lua flags=allow-oom
-- Moves the end of an empty lane to the last batch that ClickHouse has. A failover of the buffer has lost batches that
-- were published.
--
-- KEYS  state              lane state
-- ARGV  incarnation        incarnation that the caller has read
--       seenWatermark      watermark that the caller has read
--       watermark          new watermark
--       received_ms        when the batch at the new watermark was received; 0 when unknown
--       latest_ms          latest event time up to the new watermark
-- Returns {'advanced'}, or {'other'} when the lane differs from what the caller has read.
--- @include "clock"
--- @include "hash"
--- @include "integer"
local state = unpack(KEYS)
local incarnation, seenWatermark, watermark, received_ms, latest_ms = unpack(ARGV)
local current = readHash(state, 'inc', 'seq', 'w', 'epoch', 's_token', 'maxet')
if current.inc ~= incarnation or current.seq ~= seenWatermark or current.w ~= seenWatermark or current.s_token then
  return {'other'}
end
local at = received_ms == '0' and '' or watermark .. ':' .. received_ms
-- A new epoch: a query that is running must not take its result for exact.
redis.call('HSET', state, 'seq', watermark, 'w', watermark, 'at', at, 'wat', at,
  'epoch', integer(math.max(tonumber(current.epoch) + 1, clock_ms())),
  'maxet', integer(math.max(tonumber(current.maxet or 0), tonumber(latest_ms))))
return {'advanced'}
