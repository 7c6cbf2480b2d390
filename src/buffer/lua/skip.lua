#!lua flags=allow-oom
-- Records the rows of a seal that a flush does not send. The caller must hold the seal and know the list that it
-- replaces.
--
-- KEYS  state      lane state
-- ARGV  epoch      epoch of the caller
--       token      token of the seal
--       seenSkip   skip list that the caller has read; '' for none
--       skip       new skip list; '' for none
-- Returns {'recorded'} or {'fenced'}.
--- @include "hash"
local state = unpack(KEYS)
local epoch, token, seenSkip, skip = unpack(ARGV)
local current = readHash(state, 'epoch', 's_token', 's_skip')
if current.epoch ~= epoch or current.s_token ~= token then return {'fenced'} end
local currentSkip = current.s_skip or ''
-- A repeated call, after a lost reply.
if currentSkip == skip then return {'recorded'} end
if currentSkip ~= seenSkip then return {'fenced'} end
redis.call('HSET', state, 's_skip', skip)
return {'recorded'}
