-- Stages one batch: gives it the lane's next sequence, or says why not. Everything is checked before anything is written.
-- Writes come in an order that a failure between them cannot hurt: the rows first, the key that remembers them last.
--
-- KEYS  1 lane state   2 lane log   3 idempotency key   4 due lanes   5 state of lane 0, which knows the number of lanes
--       6 lease of the lane   7 quota of the dataset
-- ARGV  one text: a JSON array of what follows, a line break, and the payload (NDJSON), as it is stored
--       1 hash of the request   2 how long its keys are remembered (ms)   3 batch id   4 rows   5 cells   6 schema version
--       7 earliest and 8 latest event time (ms)   9 partition windows, comma separated
--       10 most pending rows and 11 bytes of a lane, each batch taking 256 beside its own   12 the lane as a member of the due set
--       13 rows and 14 bytes of the whole request, which need room now; '' for its later chunks, which had it
--       15 how the request is cut   16 when the first chunk was accepted (ms), '' for that one itself
--       17 lane   18 number of lanes it was chosen among   19 what was said of the rows as a whole (JSON) or ''
--       20 '1' to write in any case, so that waiting for replicas means something
-- Answers {'staged', batch id, rows, incarnation, sequence, received at (ms), plan, lane, pending rows, bytes, oldest,
--         1 when somebody flushes the lane just now, quota},
--         {'replayed', …} up to the lane, {'reused'}, {'unknown'}, {'frozen', why}, {'lanes', for writers, for readers} when
--         the number of lanes is another, {'full', pending rows, bytes, rows drained a second, 'lane' | 'memory' (what is
--         full)} or {'quota', which, quota}.
--         A quota is {ms until the next day, then what there may be and what is left of it: rows and bytes a day, bytes
--         stored}, '' twice for what has no limit; '' for a dataset without any.
local cut = string.find(ARGV[1], '\n', 1, true)
local given = cjson.decode(string.sub(ARGV[1], 1, cut - 1))
local payload = string.sub(ARGV[1], cut + 1)

local known = redis.call('GET', KEYS[3])
if known then
  local first = cjson.decode(known)
  if first.hash ~= given[1] then return {'reused'} end
  if given[20] == '1' then redis.call('PEXPIREAT', KEYS[3], redis.call('PEXPIRETIME', KEYS[3])) end
  return {'replayed', first.id, first.rows, first.inc, first.seq, first.at, first.plan, first.lane}
end

local state = redis.call('HMGET', KEYS[1], 'inc', 'seq', 'rows', 'bytes', 'oldest', 'frozen', 'rate', 'v', 'w')
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
  return {'full', pendingRows, pendingBytes, state[7] or '', 'lane'}
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- A request is charged as a whole with its first chunk, so that none of the others is too much.
local quota, charged = '', nil
local limits = redis.call('HMGET', KEYS[7], 'max_rows', 'max_bytes', 'max_stored', 'day', 'rows', 'bytes', 'stored', 'since')
if limits[1] or limits[2] or limits[3] then
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
-- The first write, and the one that is refused at the server's memory limit: nothing has changed then.
local appended = redis.pcall('XADD', KEYS[2], string.format('%.0f-0', seq),
  'id', given[3], 'n', given[4], 'b', bytes, 'c', given[5], 'v', given[6], 'lo', given[7], 'hi', given[8], 'w', given[9],
  'at', string.format('%.0f', now), 'm', given[19], 'p', payload)
if type(appended) == 'table' and appended.err then
  if string.find(appended.err, 'OOM command', 1, true) then return {'full', pendingRows, pendingBytes, state[7] or '', 'memory'} end
  return appended
end

local oldest = tonumber(state[5])
if pendingRows == 0 or not oldest then oldest = now end
redis.call('HSET', KEYS[1], 'seq', string.format('%.0f', seq), 'rows', pendingRows + rows, 'bytes', pendingBytes + bytes,
  'oldest', string.format('%.0f', oldest), 'v', math.max(tonumber(state[8]), tonumber(given[6])))
-- A lane whose flush fails is in the set already, at the time of its next try.
redis.call('ZADD', KEYS[4], 'NX', string.format('%.0f', oldest), given[12])
if charged then
  redis.call('HSET', KEYS[7], 'day', charged[1], 'rows', charged[2], 'bytes', charged[3])
  redis.call('HINCRBY', KEYS[7], 'since', charged[4])
end
-- All chunks of a request are forgotten at the same moment: a part that is remembered alone would be worse than none.
local begun = tonumber(given[16]) or now
local lane = tonumber(given[17])
redis.call('SET', KEYS[3],
  cjson.encode({hash = given[1], id = given[3], rows = rows, inc = inc, seq = seq, at = now, plan = given[15], lane = lane}),
  'PXAT', string.format('%.0f', begun + tonumber(given[2])))
return {'staged', given[3], rows, inc, seq, now, given[15], lane, pendingRows + rows, pendingBytes + bytes, oldest,
  redis.call('EXISTS', KEYS[6]), quota}
