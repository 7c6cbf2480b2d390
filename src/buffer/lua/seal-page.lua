-- Returns further batches of a seal to its holder. The log has these batches until the seal is published.
--
-- KEYS  state             lane state
--       log               lane log
-- ARGV  epoch             epoch of the caller
--       token             token of the seal
--       from              sequence of the first batch to return
--       reply_bytes_max   most bytes of batches in the reply
-- Returns {'page', batch, …} with at least one batch (see log.lua), {'published'} when the seal is over, or {'gap'}.
--- @include "hash"
--- @include "log"
local state, log = unpack(KEYS)
local epoch, token, from, reply_bytes_max = unpack(ARGV)
local current = readHash(state, 'epoch', 's_token', 's_to')
if current.epoch ~= epoch or current.s_token ~= token then return {'published'} end

local expected, to, left_bytes = tonumber(from), tonumber(current.s_to), tonumber(reply_bytes_max)
local answer = {'page'}
repeat
  local page = redis.call('XRANGE', log, entryId(expected), entryId(to), 'COUNT', 4)
  for _, entry in ipairs(page) do
    local seq, fields = sequenceOf(entry), fieldsOf(entry)
    if seq ~= expected then return {'gap'} end
    left_bytes = left_bytes - bytesOf(fields)
    if #answer > 1 and left_bytes < 0 then return answer end
    answer[#answer + 1] = batchOf(seq, fields)
    expected = seq + 1
  end
until #page == 0 or expected > to
if expected <= to then return {'gap'} end
return answer
