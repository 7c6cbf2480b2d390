#!lua flags=allow-oom
-- Makes a seal history, once ClickHouse has all its rows: moves the watermark to its end, trims its batches, and hands
-- the manifest to the outbox. Only for whoever holds the epoch and the very seal; a second call after the first had its
-- effect gets the same answer.
--
-- KEYS  1 lane state   2 lane log   3 due lanes   4 outbox
-- ARGV  1 epoch   2 token   3 manifest (JSON)   4 most manifests in the outbox   5 the lane as a member of the due set
--       6 the skip list that was gone by   7 most bytes of manifests in the outbox
-- Answers {'published', watermark, batches trimmed, 'kept' | 'dropped' (the manifest, when the outbox was full), batches
--         and rows that wait by the state, batches in the log, 1 when the log ended with another batch than the state says},
--         {'already', watermark}, {'fenced'} or {'unknown'}.
local state = redis.call('HMGET', KEYS[1], 'inc', 'epoch', 's_token', 's_from', 's_to', 's_rows', 's_bytes', 's_hi', 's_at',
  'rows', 'bytes', 'maxet', 'w', 'last', 's_skip', 's_last', 'seq', 'at')
if not state[1] then return {'unknown'} end
if not state[3] then
  if state[14] == ARGV[1] .. ' ' .. ARGV[2] then return {'already', tonumber(state[13])} end
  return {'fenced'}
end
if state[2] ~= ARGV[1] or state[3] ~= ARGV[2] then return {'fenced'} end
-- Another flusher found rows that ClickHouse refuses, or had them stored after all.
if (state[15] or '') ~= ARGV[6] then return {'fenced'} end

local to = tonumber(state[5])
local kept = 'dropped'
-- A full outbox never holds a publish up: missing manifests are rebuilt from ClickHouse. Each entry has the sum of bytes
-- up to it, so that the newest and the oldest say how many there are between them.
local function sum(entry) return entry and tonumber(entry[2][4] or 0) or 0 end
local oldest = sum(redis.call('XRANGE', KEYS[4], '-', '+', 'COUNT', 1)[1])
local newest = sum(redis.call('XREVRANGE', KEYS[4], '+', '-', 'COUNT', 1)[1])
if redis.call('XLEN', KEYS[4]) < tonumber(ARGV[4]) and newest - oldest + #ARGV[3] <= tonumber(ARGV[7]) then
  redis.call('XADD', KEYS[4], '*', 'm', ARGV[3], 's', string.format('%.0f', newest + #ARGV[3]))
  kept = 'kept'
end

-- State and log are two keys: after a split of the buffer they may come from two sides, with as many batches on either.
local ending = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local isOther = false
if ending and (state[18] or '') ~= '' then
  for i = 1, #ending[2], 2 do
    if ending[2][i] == 'at' then isOther = string.match(ending[1], '^%d+') .. ':' .. ending[2][i + 1] ~= state[18] end
  end
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local rows = tonumber(state[6])
-- What a full lane tells a writer to wait by.
local rate = math.ceil(rows * 1000 / math.max(1, now - tonumber(state[9])))
local hi = math.max(tonumber(state[8]), tonumber(state[12] or 0))
-- An earlier version leaves it there when it publishes: that of another seal says nothing of this one.
local wat = string.format('%.0f:', to)
if string.sub(state[16] or '', 1, #wat) == wat then wat = state[16] end
redis.call('HSET', KEYS[1], 'w', string.format('%.0f', to), 'wat', wat, 'rows', tonumber(state[10]) - rows,
  'bytes', tonumber(state[11]) - tonumber(state[7]), 'maxet', string.format('%.0f', hi), 'rate', rate,
  'flushed', string.format('%.0f', now), 'last', ARGV[1] .. ' ' .. ARGV[2])
-- Rows that a reader had from the buffer are not in ClickHouse.
if ARGV[6] ~= '' then redis.call('HINCRBY', KEYS[1], 'changes', 1) end
redis.call('HDEL', KEYS[1], 's_from', 's_to', 's_token', 's_rows', 's_bytes', 's_hi', 's_at', 's_settings', 's_times', 's_skip',
  's_by', 's_last', 'fails', 'retry')
local trimmed = redis.call('XTRIM', KEYS[2], 'MINID', '=', string.format('%.0f-0', to + 1))

local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
if first then
  local oldest
  for i = 1, #first[2], 2 do
    if first[2][i] == 'at' then oldest = first[2][i + 1] end
  end
  redis.call('HSET', KEYS[1], 'oldest', oldest)
  redis.call('ZADD', KEYS[3], oldest, ARGV[5])
else
  redis.call('HDEL', KEYS[1], 'oldest')
  redis.call('ZREM', KEYS[3], ARGV[5])
end
return {'published', to, trimmed, kept, tonumber(state[17]) - to, tonumber(state[10]) - rows, redis.call('XLEN', KEYS[2]),
  isOther and 1 or 0}
