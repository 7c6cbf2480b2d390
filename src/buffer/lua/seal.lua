#!lua flags=allow-oom
-- Fixes the range of batches that one flush moves, and returns as many of them as fit into a reply; seal-page.lua
-- returns the others. An existing seal is taken over exactly as it is stored: each retry sends the same rows under the
-- same token.
--
-- KEYS  state                  lane state
--       log                    lane log
-- ARGV  lane                   lane
--       flush_rows_max         limits of one flush: rows,
--       flush_bytes_max        bytes,
--       flush_partitions_max   partitions,
--       flush_cells_max        cells
--       flush_batches_max      and batches
--       settingsVersion        version of the insert settings of a new seal
--       isForced               '1' to try in spite of a recent failure
--       reply_bytes_max        most bytes of batches in the reply
--       flush_meta_bytes_max   most bytes of batch metadata in one flush
--       callId                 id of the call: a call that is sent again counts once
-- Returns {'sealed' | 'taken-over', epoch, token, from, to, incarnation, rows, bytes, settings version, number of
--         flushers that have begun the seal, skip list, the first batches (see log.lua)}, {'empty'}, {'unknown'},
--         {'waits', ms until the next try}, or {'fenced', reason} when the log contradicts the seal or the sequence.
--- @include "clock"
--- @include "hash"
--- @include "integer"
--- @include "log"
local state, log = unpack(KEYS)
local lane, flush_rows_max, flush_bytes_max, flush_partitions_max, flush_cells_max, flush_batches_max, settingsVersion,
  isForced, reply_bytes_max, flush_meta_bytes_max, callId = unpack(ARGV)
local current = readHash(state, 'inc', 'seq', 'w', 'epoch', 's_from', 's_to', 's_token', 's_rows', 's_bytes',
  's_settings', 's_skip', 'retry', 'hold', 's_import', 's_by')
if not current.inc then return {'unknown'} end
-- The seal of an import: the import moves its own rows, and writers do not use the lane.
if current.s_import then return {'empty'} end
local watermark = tonumber(current.w)
local now_ms = clock_ms()
local retryIn_ms = tonumber(current.retry or 0) - now_ms
if isForced ~= '1' and retryIn_ms > 0 then return {'waits', retryIn_ms} end

local function tokenOf(from, to, ids)
  return lane .. ':' .. integer(from) .. '-' .. integer(to) .. ':' .. redis.sha1hex(table.concat(ids, ','))
end
local batches, left_bytes = {}, tonumber(reply_bytes_max)
-- The first batch always goes into the reply.
local function addToReply(seq, fields)
  left_bytes = left_bytes - bytesOf(fields)
  if #batches > 0 and left_bytes < 0 then return end
  batches[#batches + 1] = batchOf(seq, fields)
end

if current.s_token then
  local from = tonumber(current.s_from)
  local to = tonumber(current.s_to)
  local ids = {}
  repeat
    -- A few at a time: a reply within a script may have a limit too, and a batch may have more than a megabyte.
    local page = redis.call('XRANGE', log, entryId(from + #ids), entryId(to), 'COUNT', 4)
    for _, entry in ipairs(page) do
      local seq, fields = sequenceOf(entry), fieldsOf(entry)
      if seq ~= from + #ids then return {'fenced', 'gap'} end
      ids[#ids + 1] = fields.id
      addToReply(seq, fields)
    end
  until #page == 0 or from + #ids > to
  if #ids ~= to - from + 1 then return {'fenced', 'gap'} end
  if tokenOf(from, to, ids) ~= current.s_token then return {'fenced', 'other-batches'} end
  -- A write: with it, WAIT on this connection covers the seal.
  redis.call('HSET', state, 's_by', callId)
  local timesTaken = redis.call('HINCRBY', state, 's_times', current.s_by == callId and 0 or 1)
  return {'taken-over', tonumber(current.epoch), current.s_token, from, to, current.inc, tonumber(current.s_rows),
    tonumber(current.s_bytes), tonumber(current.s_settings), timesTaken, current.s_skip or '', batches}
end

if tonumber(current.seq) == watermark then return {'empty'} end
-- Rows of the table are being deleted or corrected.
local heldFor_ms = tonumber(current.hold or 0) - now_ms
if heldFor_ms > 0 then return {'waits', heldFor_ms} end

local rows, bytes, partitions, cells, meta_bytes, latest_ms, lastReceived_ms = 0, 0, 0, 0, 0, 0, ''
local windows, ids = {}, {}
local to = watermark
local isFull = false
repeat
  local page = redis.call('XRANGE', log, entryId(to + 1), '+', 'COUNT', 4)
  for _, entry in ipairs(page) do
    local seq, fields = sequenceOf(entry), fieldsOf(entry)
    if seq ~= to + 1 then return {'fenced', 'gap'} end
    local added = 0
    for window in string.gmatch(fields.w, '[^,]+') do
      if not windows[window] then
        windows[window] = true
        added = added + 1
      end
    end
    rows = rows + tonumber(fields.n)
    bytes = bytes + tonumber(fields.b)
    cells = cells + tonumber(fields.c)
    partitions = partitions + added
    if fields.m ~= '' then meta_bytes = meta_bytes + #fields.m + 32 end
    -- The first batch always goes: it was within the limits of a request.
    isFull = to > watermark and (rows > tonumber(flush_rows_max) or bytes > tonumber(flush_bytes_max)
      or partitions > tonumber(flush_partitions_max) or cells > tonumber(flush_cells_max)
      or #ids >= tonumber(flush_batches_max) or meta_bytes > tonumber(flush_meta_bytes_max))
    if isFull then
      rows = rows - tonumber(fields.n)
      bytes = bytes - tonumber(fields.b)
      break
    end
    to = seq
    latest_ms = math.max(latest_ms, tonumber(fields.hi))
    lastReceived_ms = fields.at
    ids[#ids + 1] = fields.id
    addToReply(seq, fields)
  end
until isFull or #page == 0
if to == watermark then return {'fenced', 'gap'} end

local from = watermark + 1
-- Epochs start at the clock: after a failover of the buffer no seal gets the epoch of a lost one.
local epoch = integer(math.max(tonumber(current.epoch) + 1, now_ms))
local token = tokenOf(from, to, ids)
redis.call('HSET', state, 'epoch', epoch, 's_from', integer(from), 's_to', integer(to), 's_token', token,
  's_rows', rows, 's_bytes', bytes, 's_hi', integer(latest_ms), 's_settings', settingsVersion, 's_at', integer(now_ms), 's_times', 1,
  's_by', callId, 's_last', integer(to) .. ':' .. lastReceived_ms)
return {'sealed', tonumber(epoch), token, from, to, current.inc, rows, bytes, tonumber(settingsVersion), 1, '', batches}
