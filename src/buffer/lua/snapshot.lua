-- Reads all lanes of a table at one moment: the watermark (everything up to it is in ClickHouse), epoch and seal (a
-- flush under way), and the tail beyond the watermark. The reply leaves out batches that the caller has already.
--
-- KEYS  lanes             state and log of each lane
-- ARGV  want              'entries' | 'state'
--       tail_rows_max     most rows of the tail
--       tail_bytes_max    most bytes of the tail
--       reply_bytes_max   most bytes of batches in the reply
--       newest            for each lane: newest sequence that the caller has, or 0, and the id of its batch
-- Returns {now (ms), 'ready' | 'more' | 'too-large' | 'skipped', lane, …, number of changes to stored rows, or -1
--         during a change}. 'more': the reply does not have all batches, and the caller asks again with those it has. A
--         lane is {incarnation, sequence, watermark, epoch, end of the seal or '', pending rows, pending bytes, oldest
--         (ms) or '', newest schema version of staged rows, latest event time of flushed rows (ms) or '', first
--         sequence in the reply (the caller has the batches between the watermark and it), batches (see log.lua),
--         receipt of the batch at the sequence and of the one at the watermark, each '<sequence>:<ms>' or ''};
--         {'lanes', lanes for writers, lanes for readers} when the table has another number of lanes than KEYS, or
--         {'unknown', lane} when a lane has no state.
--- @include "clock"
--- @include "hash"
--- @include "log"
--- @include "rest"
local lanes = KEYS
local want, tail_rows_max, tail_bytes_max, reply_bytes_max, newest = unpackWithRest(ARGV, 4)
local laneCount = #lanes / 2
local counts = readHash(lanes[1], 'lanes', 'rlanes', 'changing')
if not counts.lanes then return {'unknown', 0} end
if tonumber(counts.rlanes) ~= laneCount then return {'lanes', tonumber(counts.lanes), tonumber(counts.rlanes)} end

local states, rows, bytes, changes = {}, 0, 0, 0
for lane = 1, laneCount do
  local current = readHash(lanes[2 * lane - 1], 'inc', 'seq', 'w', 'epoch', 's_to', 'rows', 'bytes', 'oldest', 'v',
    'maxet', 'changes', 'at', 'wat')
  if not current.inc then return {'unknown', lane - 1} end
  rows = rows + tonumber(current.rows)
  bytes = bytes + tonumber(current.bytes)
  changes = changes + tonumber(current.changes or 0)
  states[lane] = current
end

local tail, left_bytes, sent = 'skipped', tonumber(reply_bytes_max), 0
if want == 'entries' then
  tail = 'ready'
  if rows > tonumber(tail_rows_max) or bytes > tonumber(tail_bytes_max) then tail = 'too-large' end
end
local hasTail = tail == 'ready'
local answer = {clock_ms(), tail}
for lane, current in ipairs(states) do
  local log, first, batches = lanes[2 * lane], tonumber(current.w) + 1, {}
  if hasTail then
    local newestSeq, newestId = tonumber(newest[2 * lane - 1]), newest[2 * lane]
    local known = newestSeq >= first and redis.call('XRANGE', log, entryId(newestSeq), entryId(newestSeq))[1]
    if known and fieldsOf(known).id == newestId then first = newestSeq + 1 end
    local from = entryId(first)
    repeat
      -- A few at a time: a reply within a script may have a limit too, and a batch may have more than a megabyte.
      local page = tail == 'ready' and redis.call('XRANGE', log, from, '+', 'COUNT', 4) or {}
      for _, entry in ipairs(page) do
        local fields = fieldsOf(entry)
        -- The first batch always goes.
        left_bytes = left_bytes - bytesOf(fields)
        if sent > 0 and left_bytes < 0 then
          tail = 'more'
          break
        end
        sent = sent + 1
        batches[#batches + 1] = batchOf(sequenceOf(entry), fields)
        from = '(' .. entry[1]
      end
    until #page == 0
  end
  answer[lane + 2] = {current.inc, tonumber(current.seq), tonumber(current.w), tonumber(current.epoch),
    current.s_to or '', tonumber(current.rows), tonumber(current.bytes), current.oldest or '', tonumber(current.v),
    current.maxet or '', first, batches, current.at or '', current.wat or ''}
end
answer[2] = tail
answer[laneCount + 3] = counts.changing and -1 or changes
return answer
