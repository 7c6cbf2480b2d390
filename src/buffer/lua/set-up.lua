#!lua flags=allow-oom
-- Creates a lane's state where there is none. The log, where it is still there, knows best: its first batch is the one
-- after the watermark, since a batch is trimmed in the very step that moves the watermark past it.
--
-- KEYS  1 lane state   2 lane log   3 due lanes   4 where the table's definition is kept
-- ARGV  1 incarnation   2 watermark to begin with where there is no log   3 the lane as a member of the due set
--       4 newest schema version   5 number of lanes for writers and 6 for readers, '' but for lane 0, which keeps them
--       7 why it takes no rows; '' for one that does   8 life and 9 revision of the table that this is known from
--       10 lane that an import has, or ''; on that lane also 11 first and 12 last sequence, 13 token and 14 id of the
--       import
-- Answers {'created' | 'exists', incarnation, watermark}, or {'stale'} when something newer is known of the table.
local kept = redis.call('HMGET', KEYS[4], 'life', 'revision')
local life = tonumber(kept[1] or 0)
if life > tonumber(ARGV[8]) or (life == tonumber(ARGV[8]) and tonumber(kept[2]) > tonumber(ARGV[9])) then return {'stale'} end

local there = redis.call('HMGET', KEYS[1], 'inc', 'w')
if there[1] and ARGV[5] ~= '' then
  redis.call('HSETNX', KEYS[1], 'lanes', ARGV[5])
  redis.call('HSETNX', KEYS[1], 'rlanes', ARGV[6])
  if ARGV[10] ~= '' then redis.call('HSET', KEYS[1], 'ilane', ARGV[10]) end
end
if there[1] then return {'exists', there[1], tonumber(there[2])} end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local w, seq, rows, bytes, oldest = tonumber(ARGV[2]), tonumber(ARGV[2]), 0, 0, nil
if redis.call('EXISTS', KEYS[2]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[2])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then seq = tonumber(string.match(info[i + 1], '^(%d+)')) end
  end
  w = seq
  local from = '-'
  repeat
    local page = redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', 4)
    for _, entry in ipairs(page) do
      if not oldest then w = tonumber(string.match(entry[1], '^(%d+)')) - 1 end
      for i = 1, #entry[2], 2 do
        local name, value = entry[2][i], entry[2][i + 1]
        if name == 'n' then rows = rows + tonumber(value) end
        if name == 'b' then bytes = bytes + tonumber(value) end
        if name == 'at' and not oldest then oldest = value end
      end
      from = '(' .. entry[1]
    end
  until #page == 0
end

-- Epochs begin at the clock, so that no earlier life of this state has used one of them.
redis.call('HSET', KEYS[1], 'inc', ARGV[1], 'seq', string.format('%.0f', seq), 'w', string.format('%.0f', w),
  'epoch', string.format('%.0f', now), 'rows', rows, 'bytes', bytes, 'v', ARGV[4])
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[1], 'lanes', ARGV[5], 'rlanes', ARGV[6])
  if ARGV[10] ~= '' then redis.call('HSET', KEYS[1], 'ilane', ARGV[10]) end
end
-- Its rows that are in ClickHouse already must not show before the others are.
if ARGV[11] ~= '' then
  redis.call('HSET', KEYS[1], 's_from', ARGV[11], 's_to', ARGV[12], 's_token', ARGV[13], 's_import', ARGV[14])
end
if ARGV[7] ~= '' then redis.call('HSET', KEYS[1], 'frozen', ARGV[7]) end
if oldest then
  redis.call('HSET', KEYS[1], 'oldest', oldest)
  redis.call('ZADD', KEYS[3], oldest, ARGV[3])
end
return {'created', ARGV[1], w}
