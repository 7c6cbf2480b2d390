#!lua flags=allow-oom
-- Publishes a seal whose rows are all in ClickHouse: moves the watermark to the end of the seal, trims its batches, and
-- adds the manifest to the outbox. Only the holder of the epoch and of this very seal may publish. A repeated call gets
-- the same answer.
--
-- KEYS  state              lane state
--       log                lane log
--       due                due set
--       outbox             manifests for Postgres
-- ARGV  epoch              epoch of the caller
--       token              token of the seal
--       manifest           manifest (JSON)
--       outbox_max         most manifests in the outbox
--       dueMember          the lane in the due set
--       skip               skip list that the caller used
--       outbox_bytes_max   most bytes of manifests in the outbox
-- Returns {'published', watermark, trimmed batches, 'kept' | 'dropped' (the manifest; 'dropped' when the outbox is
--         full), pending batches and rows by the state, batches in the log, 1 when the log ended with another batch
--         than the state says}, {'already', watermark}, {'fenced'} or {'unknown'}.
--- @include "clock"
--- @include "hash"
--- @include "integer"
--- @include "log"
local state, log, due, outbox = unpack(KEYS)
local epoch, token, manifest, outbox_max, dueMember, skip, outbox_bytes_max = unpack(ARGV)
local current = readHash(state, 'inc', 'epoch', 's_token', 's_to', 's_rows', 's_bytes', 's_hi', 's_at', 'rows', 'bytes',
  'maxet', 'w', 'last', 's_skip', 's_last', 'seq', 'at')
if not current.inc then return {'unknown'} end
if not current.s_token then
  if current.last == epoch .. ' ' .. token then return {'already', tonumber(current.w)} end
  return {'fenced'}
end
if current.epoch ~= epoch or current.s_token ~= token then return {'fenced'} end
-- Another flusher has found rows that ClickHouse refuses, or has stored refused rows after all.
if (current.s_skip or '') ~= skip then return {'fenced'} end

local to = tonumber(current.s_to)
local kept = 'dropped'
-- A full outbox never delays a publish: missing manifests are rebuilt from ClickHouse. Each entry has the sum of bytes
-- up to itself: the difference of the newest and the oldest is the size of the outbox.
local function sumOf(entry) return entry and tonumber(fieldsOf(entry).s or 0) or 0 end
local oldestSum_bytes = sumOf(redis.call('XRANGE', outbox, '-', '+', 'COUNT', 1)[1])
local newestSum_bytes = sumOf(redis.call('XREVRANGE', outbox, '+', '-', 'COUNT', 1)[1])
local outbox_bytes = newestSum_bytes - oldestSum_bytes + #manifest
if redis.call('XLEN', outbox) < tonumber(outbox_max) and outbox_bytes <= tonumber(outbox_bytes_max) then
  redis.call('XADD', outbox, '*', 'm', manifest, 's', integer(newestSum_bytes + #manifest))
  kept = 'kept'
end

local isOther = endsDifferently(log, current.at)
local now_ms = clock_ms()
local sealed_rows = tonumber(current.s_rows)
-- A full lane derives the wait of its writers from this rate.
local drained_rows_per_s = math.ceil(sealed_rows * 1000 / math.max(1, now_ms - tonumber(current.s_at)))
local latest_ms = math.max(tonumber(current.s_hi), tonumber(current.maxet or 0))
-- An earlier version publishes without removing `s_last`: then the field belongs to another seal.
local watermarkAt = integer(to) .. ':'
if string.sub(current.s_last or '', 1, #watermarkAt) == watermarkAt then watermarkAt = current.s_last end
redis.call('HSET', state, 'w', integer(to), 'wat', watermarkAt, 'rows', tonumber(current.rows) - sealed_rows,
  'bytes', tonumber(current.bytes) - tonumber(current.s_bytes), 'maxet', integer(latest_ms), 'rate', drained_rows_per_s,
  'flushed', integer(now_ms), 'last', epoch .. ' ' .. token)
-- A reader may have seen the skipped rows in the buffer; ClickHouse does not have them.
if skip ~= '' then redis.call('HINCRBY', state, 'changes', 1) end
redis.call('HDEL', state, 's_from', 's_to', 's_token', 's_rows', 's_bytes', 's_hi', 's_at', 's_settings', 's_times',
  's_skip', 's_by', 's_last', 'fails', 'retry')
local trimmed = redis.call('XTRIM', log, 'MINID', '=', entryId(to + 1))

local first = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
if first then
  local oldest_ms = fieldsOf(first).at
  redis.call('HSET', state, 'oldest', oldest_ms)
  redis.call('ZADD', due, oldest_ms, dueMember)
else
  redis.call('HDEL', state, 'oldest')
  redis.call('ZREM', due, dueMember)
end
return {'published', to, trimmed, kept, tonumber(current.seq) - to, tonumber(current.rows) - sealed_rows,
  redis.call('XLEN', log), isOther and 1 or 0}
