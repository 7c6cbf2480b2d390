-- Stages one batch: gives it the lane's next sequence, or says why not. Everything is checked before anything is written.
-- Writes come in an order that a failure between them cannot hurt: the rows first, the key that remembers them last.
--
-- KEYS  1 lane state   2 lane log   3 idempotency key   4 due lanes   5 state of lane 0, which knows the number of lanes
--       6 lease of the lane   7 quota of the dataset   8 what is remembered of the dataset   9 memory of the buffer
--       10 of a row in quarantine that is sent again: replays
-- ARGV  one text: a JSON array of what follows, a line break, and the payload (NDJSON), as it is stored
--       1 hash of the request   2 how long its keys are remembered (ms)   3 batch id   4 rows   5 cells   6 schema version
--       7 earliest and 8 latest event time (ms)   9 partition windows, comma separated
--       10 most pending rows and 11 bytes of a lane, each batch taking 256 beside its own   12 the lane as a member of the due set
--       13 rows and 14 bytes of the whole request, which need room now; '' for its later chunks, which had it
--       15 how the request is cut; '' for one chunk   16 until when its first chunk is remembered (ms), '' for that one itself
--       17 lane   18 number of lanes it was chosen among   19 what was said of the rows as a whole (JSON) or ''
--       20 '1' to write in any case, so that waiting for replicas means something
--       21 how long before the end of 16 no chunk is staged any more (ms)   22 most bytes that the buffer may use, or ''
--       23 most bytes of keys that are remembered of a dataset, and 24 with how few of them it is not refused for what others
--       use; both '' for what is said of rows that were accepted before, which no limit of memory or quota refuses
--       25 id of a row in quarantine, which is remembered until it is settled, and 26 the turn of its replay; '' for other rows
-- Answers {'staged', batch id, rows, incarnation, sequence, received at (ms), plan, lane, until when it is remembered (ms),
--         pending rows, bytes, oldest, 1 when somebody flushes the lane just now, quota},
--         {'replayed', …} up to the ms that are left until its key is forgotten, {'reused'}, {'unknown'}, {'frozen', why},
--         {'fenced'} when another replay has the turn, {'expired'} when nobody can say any more whether the chunk was staged
--         before, {'lanes', for writers, for readers} when the number of lanes is another, {'full', pending rows, bytes, rows
--         drained a second, 'lane' | 'memory' (what is full), age (ms) of what is known of the memory or ''}, {'keys', bytes,
--         ms until some are forgotten, 'limit' | 'memory'} or {'quota', which, quota}.
--         A quota is {ms until the next day, then what there may be and what is left of it: rows and bytes a day, bytes
--         stored}, '' twice for what has no limit; '' for a dataset without any.
local cut = string.find(ARGV[1], '\n', 1, true)
local given = cjson.decode(string.sub(ARGV[1], 1, cut - 1))
local payload = string.sub(ARGV[1], cut + 1)

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local known
if given[25] ~= '' then
  local replay = redis.call('HMGET', KEYS[10], 'turn', given[25])
  if replay[1] ~= given[26] then return {'fenced'} end
  known = replay[2]
end
known = known or redis.call('GET', KEYS[3])
if known then
  local id, rows, inc, seq, at, lane, plan, ends, hash = string.match(known, '^(%S+) (%d+) (%S+) (%d+) (%d+) (%d+) (%S*) (%d*) (.*)$')
  -- As earlier versions have written it.
  if not id then
    local first = cjson.decode(known)
    id, rows, inc, seq, at, lane, plan, hash = first.id, first.rows, first.inc, first.seq, first.at, first.lane, first.plan,
      string.sub(first.hash, 1, #given[1])
    ends = now + redis.call('PTTL', KEYS[3])
  end
  if hash ~= given[1] then return {'reused'} end
  if given[20] == '1' then redis.call('PEXPIREAT', KEYS[3], redis.call('PEXPIRETIME', KEYS[3])) end
  local left = ends == '' and '' or tonumber(ends) - now
  return {'replayed', id, tonumber(rows), inc, tonumber(seq), tonumber(at), plan, tonumber(lane), ends, left}
end
-- All chunks of a request are forgotten at the same moment. From then on nobody knows whether this one was staged, and a
-- little earlier it could not be asked for again.
if given[16] ~= '' and now + tonumber(given[21]) >= tonumber(given[16]) then return {'expired'} end

local state = redis.call('HMGET', KEYS[1], 'inc', 'seq', 'rows', 'bytes', 'oldest', 'frozen', 'rate', 'v', 'w', 'at')
local lanes = redis.call('HMGET', KEYS[5], 'lanes', 'rlanes')
local inc = state[1]
-- Absent means unknown, not empty: sequences given from 1 again would collide with rows that are stored already.
if not inc or not lanes[1] then return {'unknown'} end
if lanes[1] ~= given[18] then return {'lanes', tonumber(lanes[1]), tonumber(lanes[2])} end
if state[6] then return {'frozen', state[6]} end

local rows = tonumber(given[4])
local bytes = #payload + #given[19]
local pendingRows = tonumber(state[3])
local pendingBytes = tonumber(state[4])
-- The log is one record, which may have a limit in the buffer: what batches take beside their rows counts as well.
local logBytes = pendingBytes + 256 * (tonumber(state[2]) - tonumber(state[9]))
if given[13] ~= '' and (pendingRows + tonumber(given[13]) > tonumber(given[10])
    or logBytes + tonumber(given[14]) > tonumber(given[11])) then
  return {'full', pendingRows, pendingBytes, state[7] or '', 'lane', ''}
end

-- What is used was measured a while ago, and staged since. Without a measure the server's own refusal is all there is.
local memory = redis.call('HMGET', KEYS[9], 'used', 'max', 'at')
local used, most = tonumber(memory[1] or ''), tonumber(memory[2] or '')
if given[22] ~= '' then most = math.min(most or math.huge, tonumber(given[22])) end
if given[23] ~= '' and given[13] ~= '' and used and most and used + tonumber(given[14]) > most then
  return {'full', pendingRows, pendingBytes, state[7] or '', 'memory', now - tonumber(memory[3])}
end

-- Keys of a dataset, by the time from which on all of them are forgotten: `b:<that time>` has their bytes.
local remembered = redis.call('HMGET', KEYS[8], 'bytes', 'next')
local keyBytes, nextLapse, lapsed = tonumber(remembered[1] or 0), tonumber(remembered[2] or ''), {}
if nextLapse and nextLapse <= now then
  nextLapse = nil
  local slots = redis.call('HGETALL', KEYS[8])
  for i = 1, #slots, 2 do
    local slot = tonumber(string.match(slots[i], '^b:(%d+)$') or '')
    if slot and slot <= now then
      keyBytes = keyBytes - tonumber(slots[i + 1])
      lapsed[#lapsed + 1] = slots[i]
    elseif slot then
      nextLapse = math.min(nextLapse or slot, slot)
    end
  end
end
if given[23] ~= '' and given[13] ~= '' and given[25] == '' then
  local isOver = keyBytes >= tonumber(given[23])
  -- Near the end of the memory, whoever has few keys goes on.
  if isOver or (used and most and used > 0.75 * most and keyBytes >= tonumber(given[24])) then
    return {'keys', keyBytes, (nextLapse or now) - now, isOver and 'limit' or 'memory'}
  end
end

-- A request is charged as a whole with its first chunk, so that none of the others is too much.
local quota, charged = '', nil
local limits = redis.call('HMGET', KEYS[7], 'max_rows', 'max_bytes', 'max_stored', 'day', 'rows', 'bytes', 'stored', 'since')
if given[23] ~= '' and (limits[1] or limits[2] or limits[3]) then
  local day = math.floor(now / 86400000)
  local used = {0, 0, tonumber(limits[7] or 0) + tonumber(limits[8] or 0)}
  if tonumber(limits[4]) == day then used[1], used[2] = tonumber(limits[5]), tonumber(limits[6]) end
  local add = {0, 0, 0}
  if given[13] ~= '' then add = {tonumber(given[13]), tonumber(given[14]), tonumber(given[14])} end
  quota = {(day + 1) * 86400000 - now}
  for i = 1, 3 do
    local most = tonumber(limits[i] or '')
    quota[2 * i] = most or ''
    quota[2 * i + 1] = most and math.max(0, most - used[i] - add[i]) or ''
  end
  for i, name in ipairs({'rowsPerDay', 'bytesPerDay', 'storageBytes'}) do
    local most = tonumber(limits[i] or '')
    if most and add[i] > 0 and used[i] + add[i] > most then
      for j = 1, 3 do
        local limit = tonumber(limits[j] or '')
        quota[2 * j + 1] = limit and math.max(0, limit - used[j]) or ''
      end
      return {'quota', name, quota}
    end
  end
  if given[13] ~= '' then charged = {day, used[1] + add[1], used[2] + add[2], add[3]} end
end

local seq = tonumber(state[2]) + 1
-- Never before the batch ahead of it, whatever the clock does: sequences and times tell of two batches which came first.
local at = math.max(now, tonumber(string.match(state[10] or '', ':(%d+)$') or 0))
-- The first write, and the one that is refused at the server's memory limit: nothing has changed then.
local appended = redis.pcall('XADD', KEYS[2], string.format('%.0f-0', seq),
  'id', given[3], 'n', given[4], 'b', bytes, 'c', given[5], 'v', given[6], 'lo', given[7], 'hi', given[8], 'w', given[9],
  'at', string.format('%.0f', at), 'm', given[19], 'p', payload)
if type(appended) == 'table' and appended.err then
  if string.find(appended.err, 'OOM command', 1, true) then
    return {'full', pendingRows, pendingBytes, state[7] or '', 'memory', ''}
  end
  return appended
end

local oldest = tonumber(state[5])
if pendingRows == 0 or not oldest then oldest = at end
redis.call('HSET', KEYS[1], 'seq', string.format('%.0f', seq), 'at', string.format('%.0f:%.0f', seq, at),
  'rows', pendingRows + rows, 'bytes', pendingBytes + bytes, 'oldest', string.format('%.0f', oldest), 'v', math.max(tonumber(state[8]), tonumber(given[6])))
-- A lane whose flush fails is in the set already, at the time of its next try.
redis.call('ZADD', KEYS[4], 'NX', string.format('%.0f', oldest), given[12])
if charged then
  redis.call('HSET', KEYS[7], 'day', charged[1], 'rows', charged[2], 'bytes', charged[3])
  redis.call('HINCRBY', KEYS[7], 'since', charged[4])
end

-- All chunks of a request are forgotten at the same moment: a part that is remembered alone would be worse than none.
local life = tonumber(given[2])
local ends = tonumber(given[16]) or now + life
local lane = tonumber(given[17])
local record = string.format('%s %s %s %.0f %.0f %s %s %s %s', given[3], given[4], inc, seq, at, given[17], given[15],
  given[15] == '' and '' or string.format('%.0f', ends), given[1])
local cost = 0
if given[25] ~= '' then
  redis.call('HSET', KEYS[10], given[25], record)
else
  -- What a key takes beside its text: entries of two tables, an object, and what the allocator rounds up to.
  cost = #KEYS[3] + #record + 112
  local width = math.max(1000, math.ceil(life / 24))
  local slot = math.ceil(ends / width) * width
  for _, name in ipairs(lapsed) do redis.call('HDEL', KEYS[8], name) end
  redis.call('HINCRBY', KEYS[8], string.format('b:%.0f', slot), cost)
  redis.call('HSET', KEYS[8], 'bytes', keyBytes + cost, 'next', string.format('%.0f', math.min(nextLapse or slot, slot)))
  redis.call('SET', KEYS[3], record, 'PXAT', string.format('%.0f', ends))
end
if used then redis.call('HINCRBY', KEYS[9], 'used', bytes + cost) end
return {'staged', given[3], rows, inc, seq, at, given[15], lane, ends, pendingRows + rows, pendingBytes + bytes, oldest,
  redis.call('EXISTS', KEYS[6]), quota}
