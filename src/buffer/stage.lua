-- Stages one batch: gives it the lane's next sequence, or says why not. Everything is checked before anything is written.
-- Writes come in an order that a failure between them cannot hurt: the rows first, the key that remembers them last.
--
-- KEYS  1 lane state   2 lane log   3 idempotency key   4 due lanes   5 state of lane 0, which knows the number of lanes
--       6 lease of the lane
-- ARGV  1 hash of the request   2 how long its keys are remembered (ms)   3 batch id   4 rows   5 payload (NDJSON)
--       6 cells   7 schema version   8 earliest and 9 latest event time (ms)   10 partition windows, comma separated
--       11 most pending rows and 12 bytes of a lane   13 the lane as a member of the due set
--       14 rows and 15 bytes of the whole request, which need room now; '' for its later chunks, which had it
--       16 how the request is cut   17 when the first chunk was accepted (ms), '' for that one itself
--       18 lane   19 number of lanes it was chosen among   20 what was said of the rows as a whole (JSON) or ''
--       21 '1' to write in any case, so that waiting for replicas means something
-- Answers {'staged', batch id, rows, incarnation, sequence, received at (ms), plan, lane, pending rows, bytes, oldest,
--         1 when somebody flushes the lane just now},
--         {'replayed', …} up to the lane, {'reused'}, {'unknown'}, {'frozen'}, {'lanes', for writers, for readers} when the
--         number of lanes is another, or {'full', pending rows, bytes, rows drained a second}.
local known = redis.call('GET', KEYS[3])
if known then
  local first = cjson.decode(known)
  if first.hash ~= ARGV[1] then return {'reused'} end
  if ARGV[21] == '1' then redis.call('PEXPIREAT', KEYS[3], redis.call('PEXPIRETIME', KEYS[3])) end
  return {'replayed', first.id, first.rows, first.inc, first.seq, first.at, first.plan, first.lane}
end

local state = redis.call('HMGET', KEYS[1], 'inc', 'seq', 'rows', 'bytes', 'oldest', 'frozen', 'rate', 'v')
local lanes = redis.call('HMGET', KEYS[5], 'lanes', 'rlanes')
local inc = state[1]
-- Absent means unknown, not empty: sequences given from 1 again would collide with rows that are stored already.
if not inc or not lanes[1] then return {'unknown'} end
if lanes[1] ~= ARGV[19] then return {'lanes', tonumber(lanes[1]), tonumber(lanes[2])} end
if state[6] then return {'frozen'} end

local rows = tonumber(ARGV[4])
local bytes = #ARGV[5] + #ARGV[20]
local pendingRows = tonumber(state[3])
local pendingBytes = tonumber(state[4])
if ARGV[14] ~= '' and (pendingRows + tonumber(ARGV[14]) > tonumber(ARGV[11])
    or pendingBytes + tonumber(ARGV[15]) > tonumber(ARGV[12])) then
  return {'full', pendingRows, pendingBytes, state[7] or ''}
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local seq = tonumber(state[2]) + 1
redis.call('XADD', KEYS[2], string.format('%.0f-0', seq),
  'id', ARGV[3], 'n', ARGV[4], 'b', bytes, 'c', ARGV[6], 'v', ARGV[7], 'lo', ARGV[8], 'hi', ARGV[9], 'w', ARGV[10],
  'at', string.format('%.0f', now), 'm', ARGV[20], 'p', ARGV[5])

local oldest = tonumber(state[5])
if pendingRows == 0 or not oldest then oldest = now end
redis.call('HSET', KEYS[1], 'seq', string.format('%.0f', seq), 'rows', pendingRows + rows, 'bytes', pendingBytes + bytes,
  'oldest', string.format('%.0f', oldest), 'v', math.max(tonumber(state[8]), tonumber(ARGV[7])))
-- A lane whose flush fails is in the set already, at the time of its next try.
redis.call('ZADD', KEYS[4], 'NX', string.format('%.0f', oldest), ARGV[13])
-- All chunks of a request are forgotten at the same moment: a part that is remembered alone would be worse than none.
local begun = tonumber(ARGV[17]) or now
local lane = tonumber(ARGV[18])
redis.call('SET', KEYS[3],
  cjson.encode({hash = ARGV[1], id = ARGV[3], rows = rows, inc = inc, seq = seq, at = now, plan = ARGV[16], lane = lane}),
  'PXAT', string.format('%.0f', begun + tonumber(ARGV[2])))
return {'staged', ARGV[3], rows, inc, seq, now, ARGV[16], lane, pendingRows + rows, pendingBytes + bytes, oldest,
  redis.call('EXISTS', KEYS[6])}
