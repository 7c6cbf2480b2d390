#!lua flags=allow-oom
-- Publishes an import whose rows are all in ClickHouse: moves the watermark to the end of the import, and the sequence
-- with it. A repeated call gets the same answer.
--
-- KEYS  state           lane state
--       firstState      state of lane 0
-- ARGV  lane            lane
--       token           token of the seal
--       to              last sequence
--       latest_ms       latest event time
--       schemaVersion   schema version
--       received_ms     when the rows were received
-- Returns {'published'}, {'already'} when the watermark is at the end of the import or beyond, {'fenced'} or
--         {'unknown'}.
--- @include "clock"
--- @include "hash"
--- @include "integer"
local state, firstState = unpack(KEYS)
local lane, token, to, latest_ms, schemaVersion, received_ms = unpack(ARGV)
local current = readHash(state, 'inc', 's_token', 's_to', 'maxet', 'v', 'w')
if not current.inc then return {'unknown'} end
if current.s_token ~= token then return {tonumber(current.w) >= tonumber(to) and 'already' or 'fenced'} end
local at = current.s_to .. ':' .. received_ms
redis.call('HSET', state, 'w', current.s_to, 'seq', current.s_to, 'at', at, 'wat', at,
  'maxet', integer(math.max(tonumber(current.maxet or 0), tonumber(latest_ms))),
  'v', math.max(tonumber(current.v), tonumber(schemaVersion)),
  'flushed', integer(clock_ms()), 'last', token)
redis.call('HDEL', state, 's_from', 's_to', 's_token', 's_import')
if redis.call('HGET', firstState, 'ilane') == lane then redis.call('HDEL', firstState, 'ilane') end
return {'published'}
