#!lua flags=allow-oom
-- Seals the sequences of an import on a lane that only readers use: readers see no row of the import before all of its
-- rows are stored. The log gets no batch of the import, so that the sequence of the lane stays at its watermark until
-- the import is published.
--
-- KEYS  state        lane state
--       firstState   state of lane 0, which has the number of lanes
-- ARGV  lane         lane
--       from, to     first and last sequence
--       token        token of the seal
--       importId     id of the import
-- Returns {'sealed'}, also for a repeated call, {'published'} when this token was published last, {'busy'} when the
--         lane has another seal or pending batches, {'moved', watermark} when the sequences do not follow the
--         watermark, {'lanes', watermark} when writers use the lane or readers do not, or {'unknown'}.
--- @include "hash"
--- @include "integer"
local state, firstState = unpack(KEYS)
local lane, from, to, token, importId = unpack(ARGV)
local current = readHash(state, 'inc', 'seq', 'w', 'epoch', 's_token', 'last')
local counts = readHash(firstState, 'lanes', 'rlanes')
if not current.inc or not counts.lanes then return {'unknown'} end
if current.last == token then return {'published'} end
if current.s_token == token then
  -- A write: with it, WAIT on this connection covers the seal.
  redis.call('HSET', firstState, 'ilane', lane)
  return {'sealed'}
end
if current.s_token or current.seq ~= current.w then return {'busy'} end
local watermark = tonumber(current.w)
if tonumber(counts.lanes) > tonumber(lane) or tonumber(counts.rlanes) <= tonumber(lane) then
  return {'lanes', watermark}
end
if watermark ~= tonumber(from) - 1 then return {'moved', watermark} end
redis.call('HSET', state, 'epoch', integer(tonumber(current.epoch) + 1), 's_from', from, 's_to', to,
  's_token', token, 's_import', importId)
-- Writers do not use the lane until the import is published.
redis.call('HSET', firstState, 'ilane', lane)
return {'sealed'}
