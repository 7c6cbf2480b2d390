-- Stages one batch: gives the batch the next sequence of the lane, or says why not. All checks come before the first
-- write, and the order of writes makes a failure between two of them harmless: the rows first, the idempotency key
-- last.
--
-- KEYS  state                   lane state
--       log                     lane log
--       key                     idempotency key
--       due                     due set
--       firstState              state of lane 0, which has the number of lanes
--       lease                   lease of the lane
--       quota                   quota of the dataset
--       remembered              bytes of the idempotency keys of the dataset, by their time of expiry
--       memory                  memory use of the buffer
--       replays                 for a row in quarantine that is sent again, the replays; absent for other rows
-- ARGV  request                 a JSON array of the following, a line break, and the payload (NDJSON) as it is stored
--       requestHash             hash of the request
--       remember_ms             how long the idempotency key is remembered
--       batchId                 id of the batch
--       rows, cells             size of the batch
--       schemaVersion           schema version of its rows
--       timeMin_ms, timeMax_ms  earliest and latest event time
--       windows                 partition windows, separated by commas
--       pending_rows_max        most pending rows of the lane
--       pending_bytes_max       most pending bytes of the lane, with 256 for each batch beside its own
--       dueMember               the lane in the due set
--       request_rows,           size of the whole request, which must fit now; '' for later chunks, because the first chunk
--       request_bytes           counted them
--       plan                    how the request is cut into chunks; '' for one chunk
--       until_ms                when the key of the first chunk expires; '' for the first chunk
--       lane                    lane
--       lanes                   number of lanes that the caller has chosen among
--       meta                    metadata of the batch (JSON); '' for none
--       isDurable               '1' to write in any case, so that WAIT covers the batch
--       margin_ms               how long before until_ms the last chunk may be staged
--       buffer_bytes_max        configured memory limit of the buffer; '' for none
--       idempotency_bytes_max   most bytes of idempotency keys of the dataset
--       idempotency_bytes_min   below this size the keys of other datasets never cause a refusal. Both are '' for records
--                               about rows that were accepted before: no limit of memory or quota applies to those
--       replayRow, replayTurn   row in quarantine and the turn of its replay; '' for other rows
-- Returns {'staged', batch id, rows, incarnation, sequence, received at (ms), plan, lane, expiry of the key (ms),
--         pending rows, pending bytes, oldest (ms), 1 during a flush of the lane, quota};
--         {'replayed', batch id … lane as above, expiry of the key (ms), ms until then}, both '' for keys of one chunk;
--         {'reused'} when the key belongs to another request; {'unknown'} without a state; {'frozen', why};
--         {'fenced'} when another replay has the turn;
--         {'expired'} when it can no longer be known whether the chunk was staged before;
--         {'lanes', lanes for writers, lanes for readers} when the number of lanes has changed;
--         {'full', pending rows, pending bytes, drained rows a second or '', 'lane' | 'memory', age of the memory record
--         (ms) or ''};
--         {'keys', bytes, ms until some keys expire, 'limit' | 'memory'};
--         {'quota', name of the exceeded limit, quota}.
--         A quota is {ms until the next day, limit and rest of rows a day, of bytes a day, of stored bytes}, with ''
--         twice for no limit; '' for a dataset without limits.
--- @include "clock"
--- @include "hash"
--- @include "integer"
local state, log, key, due, firstState, lease, quota, remembered, memory, replays = unpack(KEYS)
local request = unpack(ARGV)
local lineBreak = string.find(request, '\n', 1, true)
local requestHash, remember_ms, batchId, rows, cells, schemaVersion, timeMin_ms, timeMax_ms, windows, pending_rows_max,
  pending_bytes_max, dueMember, request_rows, request_bytes, plan, until_ms, lane, lanes, meta, isDurable, margin_ms,
  buffer_bytes_max, idempotency_bytes_max, idempotency_bytes_min, replayRow, replayTurn
  = unpack(cjson.decode(string.sub(request, 1, lineBreak - 1)))
local payload = string.sub(request, lineBreak + 1)
local isFirstChunk = request_rows ~= ''
local isLimited = idempotency_bytes_max ~= ''
local isReplay = replayRow ~= ''
local now_ms = clock_ms()

local known
if isReplay then
  local replay = readHash(replays, 'turn', replayRow)
  if replay.turn ~= replayTurn then return {'fenced'} end
  known = replay[replayRow]
end
known = known or redis.call('GET', key)
if known then
  local knownId, knownRows, inc, seq, at_ms, knownLane, knownPlan, expiry_ms, hash =
    string.match(known, '^(%S+) (%d+) (%S+) (%d+) (%d+) (%d+) (%S*) (%d*) (.*)$')
  -- The format of earlier versions.
  if not knownId then
    local first = cjson.decode(known)
    knownId, knownRows, inc, seq, at_ms = first.id, first.rows, first.inc, first.seq, first.at
    knownLane, knownPlan, hash = first.lane, first.plan, string.sub(first.hash, 1, #requestHash)
    expiry_ms = now_ms + redis.call('PTTL', key)
  end
  if hash ~= requestHash then return {'reused'} end
  if isDurable == '1' then redis.call('PEXPIREAT', key, redis.call('PEXPIRETIME', key)) end
  local left_ms = expiry_ms == '' and '' or tonumber(expiry_ms) - now_ms
  return {'replayed', knownId, tonumber(knownRows), inc, tonumber(seq), tonumber(at_ms), knownPlan, tonumber(knownLane),
    expiry_ms, left_ms}
end
-- The keys of all chunks of a request expire at the same moment. After that it is unknown whether this chunk was staged,
-- and shortly before it the client could not repeat the request.
if until_ms ~= '' and now_ms + tonumber(margin_ms) >= tonumber(until_ms) then return {'expired'} end

local current = readHash(state, 'inc', 'seq', 'rows', 'bytes', 'oldest', 'frozen', 'rate', 'v', 'w', 'at')
local counts = readHash(firstState, 'lanes', 'rlanes')
-- An absent state is unknown and not empty: sequences from 1 on would collide with stored rows.
if not current.inc or not counts.lanes then return {'unknown'} end
if counts.lanes ~= lanes then return {'lanes', tonumber(counts.lanes), tonumber(counts.rlanes)} end
if current.frozen then return {'frozen', current.frozen} end

local bytes = #payload + #meta
local pending_rows = tonumber(current.rows)
local pending_bytes = tonumber(current.bytes)
local function full(what, age_ms) return {'full', pending_rows, pending_bytes, current.rate or '', what, age_ms} end
-- The log is one record, whose size the buffer may limit: the overhead of batches counts too.
local log_bytes = pending_bytes + 256 * (tonumber(current.seq) - tonumber(current.w))
if isFirstChunk and (pending_rows + tonumber(request_rows) > tonumber(pending_rows_max)
    or log_bytes + tonumber(request_bytes) > tonumber(pending_bytes_max)) then
  return full('lane', '')
end

-- Measured memory use, and the bytes staged since. Without a measurement only the server itself refuses writes.
local measured = readHash(memory, 'used', 'max', 'at')
local used_bytes, used_bytes_max = tonumber(measured.used or ''), tonumber(measured.max or '')
if buffer_bytes_max ~= '' then used_bytes_max = math.min(used_bytes_max or math.huge, tonumber(buffer_bytes_max)) end
local isMemoryKnown = used_bytes and used_bytes_max
if isLimited and isFirstChunk and isMemoryKnown and used_bytes + tonumber(request_bytes) > used_bytes_max then
  return full('memory', now_ms - tonumber(measured.at))
end

-- The idempotency keys of a dataset, in slots by their time of expiry: field `b:<time>` has the bytes of a slot.
local total = readHash(remembered, 'bytes', 'next')
local key_bytes, nextExpiry_ms, expired = tonumber(total.bytes or 0), tonumber(total.next or ''), {}
if nextExpiry_ms and nextExpiry_ms <= now_ms then
  nextExpiry_ms = nil
  local slots = redis.call('HGETALL', remembered)
  for i = 1, #slots, 2 do
    local field, slot_bytes = slots[i], slots[i + 1]
    local slot_ms = tonumber(string.match(field, '^b:(%d+)$') or '')
    if slot_ms and slot_ms <= now_ms then
      key_bytes = key_bytes - tonumber(slot_bytes)
      expired[#expired + 1] = field
    elseif slot_ms then
      nextExpiry_ms = math.min(nextExpiry_ms or slot_ms, slot_ms)
    end
  end
end
if isLimited and isFirstChunk and not isReplay then
  local isOver = key_bytes >= tonumber(idempotency_bytes_max)
  -- A nearly full buffer accepts datasets with few keys.
  local isNearlyFull = isMemoryKnown and used_bytes > 0.75 * used_bytes_max
  if isOver or (isNearlyFull and key_bytes >= tonumber(idempotency_bytes_min)) then
    return {'keys', key_bytes, (nextExpiry_ms or now_ms) - now_ms, isOver and 'limit' or 'memory'}
  end
end

-- The first chunk charges the whole request: no later chunk can exceed the quota.
local quotaReply, charged = '', nil
local usage = readHash(quota, 'max_rows', 'max_bytes', 'max_stored', 'day', 'rows', 'bytes', 'stored', 'since')
if isLimited and (usage.max_rows or usage.max_bytes or usage.max_stored) then
  local day_ms = 86400000
  local day = math.floor(now_ms / day_ms)
  local isToday = tonumber(usage.day) == day
  local added_rows, added_bytes = tonumber(request_rows) or 0, tonumber(request_bytes) or 0
  local stored_bytes = tonumber(usage.stored or 0) + tonumber(usage.since or 0)
  local kinds = {
    {name = 'rowsPerDay', max = usage.max_rows, used = tonumber(isToday and usage.rows or 0), added = added_rows},
    {name = 'bytesPerDay', max = usage.max_bytes, used = tonumber(isToday and usage.bytes or 0), added = added_bytes},
    {name = 'storageBytes', max = usage.max_stored, used = stored_bytes, added = added_bytes},
  }
  local function quotaOf(isCharged)
    local answer = {(day + 1) * day_ms - now_ms}
    for _, kind in ipairs(kinds) do
      local limit = tonumber(kind.max or '')
      local used = kind.used + (isCharged and kind.added or 0)
      answer[#answer + 1] = limit or ''
      answer[#answer + 1] = limit and math.max(0, limit - used) or ''
    end
    return answer
  end
  for _, kind in ipairs(kinds) do
    if kind.max and kind.added > 0 and kind.used + kind.added > tonumber(kind.max) then
      return {'quota', kind.name, quotaOf(false)}
    end
  end
  quotaReply = quotaOf(true)
  if isFirstChunk then charged = {day = day, rows = kinds[1].used + added_rows, bytes = kinds[2].used + added_bytes} end
end

local seq = tonumber(current.seq) + 1
-- Never before the previous batch, whatever the clock does: sequences and times must give the same order.
local at_ms = math.max(now_ms, tonumber(string.match(current.at or '', ':(%d+)$') or 0))
-- The first write is the one that the server refuses at its memory limit: nothing has changed then.
local appended = redis.pcall('XADD', log, integer(seq) .. '-0',
  'id', batchId, 'n', rows, 'b', bytes, 'c', cells, 'v', schemaVersion, 'lo', timeMin_ms, 'hi', timeMax_ms,
  'w', windows, 'at', integer(at_ms), 'm', meta, 'p', payload)
if type(appended) == 'table' and appended.err then
  if string.find(appended.err, 'OOM command', 1, true) then return full('memory', '') end
  return appended
end

local oldest_ms = tonumber(current.oldest)
if pending_rows == 0 or not oldest_ms then oldest_ms = at_ms end
pending_rows = pending_rows + tonumber(rows)
pending_bytes = pending_bytes + bytes
redis.call('HSET', state, 'seq', integer(seq), 'at', integer(seq) .. ':' .. integer(at_ms), 'rows', pending_rows,
  'bytes', pending_bytes, 'oldest', integer(oldest_ms), 'v', math.max(tonumber(current.v), tonumber(schemaVersion)))
-- The set has a lane whose flush fails already, at the time of its next try.
redis.call('ZADD', due, 'NX', integer(oldest_ms), dueMember)
if charged then
  redis.call('HSET', quota, 'day', charged.day, 'rows', charged.rows, 'bytes', charged.bytes)
  redis.call('HINCRBY', quota, 'since', request_bytes)
end

-- The keys of all chunks of a request expire at the same moment: the key of a single chunk is worse than no key.
local expiry_ms = tonumber(until_ms) or now_ms + tonumber(remember_ms)
local record = table.concat({batchId, rows, current.inc, integer(seq), integer(at_ms), lane, plan,
  plan == '' and '' or integer(expiry_ms), requestHash}, ' ')
local record_bytes = 0
if isReplay then
  redis.call('HSET', replays, replayRow, record)
else
  -- A key takes more than its text: entries of two tables, an object, and what the allocator rounds up to.
  record_bytes = #key + #record + 112
  local slot_width_ms = math.max(1000, math.ceil(tonumber(remember_ms) / 24))
  local slot_ms = math.ceil(expiry_ms / slot_width_ms) * slot_width_ms
  for _, field in ipairs(expired) do redis.call('HDEL', remembered, field) end
  redis.call('HINCRBY', remembered, 'b:' .. integer(slot_ms), record_bytes)
  nextExpiry_ms = math.min(nextExpiry_ms or slot_ms, slot_ms)
  redis.call('HSET', remembered, 'bytes', key_bytes + record_bytes, 'next', integer(nextExpiry_ms))
  redis.call('SET', key, record, 'PXAT', integer(expiry_ms))
end
if used_bytes then redis.call('HINCRBY', memory, 'used', bytes + record_bytes) end
return {'staged', batchId, tonumber(rows), current.inc, seq, at_ms, plan, tonumber(lane), expiry_ms, pending_rows,
  pending_bytes, oldest_ms, redis.call('EXISTS', lease), quotaReply}
