#!lua flags=allow-oom
-- Creates the state of a lane that has none. An existing log decides where the lane goes on: a batch is trimmed in the
-- same step that moves the watermark past it, so that the first batch of the log follows the watermark.
--
-- KEYS  state                lane state
--       log                  lane log
--       due                  due set
--       definition           cached definition of the table
-- ARGV  incarnation          name of the new state
--       watermark            watermark of a lane without a log
--       dueMember            the lane in the due set
--       schemaVersion        newest schema version
--       writeLanes           number of lanes for writers; '' for other lanes than lane 0, which keeps the numbers
--       readLanes            number of lanes for readers; '' likewise
--       frozen               why the lane accepts no rows; '' when it accepts rows
--       life, revision       the table's record that the caller has read
--       importLane           lane of an import; '' for none
--       importFrom,          on the lane of the import: its first and last sequence, token and id; '' on other lanes
--       importTo,
--       importToken,
--       importId
-- Returns {'created' | 'exists', incarnation, watermark}, or {'stale'} when a newer record of the table is known.
--- @include "clock"
--- @include "hash"
--- @include "integer"
--- @include "log"
local state, log, due, definition = unpack(KEYS)
local incarnation, watermark, dueMember, schemaVersion, writeLanes, readLanes, frozen, life, revision, importLane,
  importFrom, importTo, importToken, importId = unpack(ARGV)
local kept = readHash(definition, 'life', 'revision')
local keptLife = tonumber(kept.life or 0)
local isSameLife = keptLife == tonumber(life)
if keptLife > tonumber(life) or (isSameLife and tonumber(kept.revision) > tonumber(revision)) then return {'stale'} end

local current = readHash(state, 'inc', 'w')
if current.inc and writeLanes ~= '' then
  redis.call('HSETNX', state, 'lanes', writeLanes)
  redis.call('HSETNX', state, 'rlanes', readLanes)
  if importLane ~= '' then redis.call('HSET', state, 'ilane', importLane) end
end
if current.inc then return {'exists', current.inc, tonumber(current.w)} end

local now_ms = clock_ms()
local w, seq, rows, bytes, oldest_ms = tonumber(watermark), tonumber(watermark), 0, 0, nil
if redis.call('EXISTS', log) == 1 then
  local info = redis.call('XINFO', 'STREAM', log)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then seq = tonumber(string.match(info[i + 1], '^(%d+)')) end
  end
  w = seq
  local from = '-'
  repeat
    local page = redis.call('XRANGE', log, from, '+', 'COUNT', 4)
    for _, entry in ipairs(page) do
      local fields = fieldsOf(entry)
      if not oldest_ms then
        w = sequenceOf(entry) - 1
        oldest_ms = fields.at
      end
      rows = rows + tonumber(fields.n or 0)
      bytes = bytes + tonumber(fields.b or 0)
      from = '(' .. entry[1]
    end
  until #page == 0
end

-- Epochs start at the clock: no earlier life of this state has used one of them.
redis.call('HSET', state, 'inc', incarnation, 'seq', integer(seq), 'w', integer(w), 'epoch', integer(now_ms),
  'rows', rows, 'bytes', bytes, 'v', schemaVersion)
if writeLanes ~= '' then
  redis.call('HSET', state, 'lanes', writeLanes, 'rlanes', readLanes)
  if importLane ~= '' then redis.call('HSET', state, 'ilane', importLane) end
end
-- Rows of the import that are in ClickHouse already must not show before the others are.
if importFrom ~= '' then
  redis.call('HSET', state, 's_from', importFrom, 's_to', importTo, 's_token', importToken, 's_import', importId)
end
if frozen ~= '' then redis.call('HSET', state, 'frozen', frozen) end
if oldest_ms then
  redis.call('HSET', state, 'oldest', oldest_ms)
  redis.call('ZADD', due, oldest_ms, dueMember)
end
return {'created', incarnation, w}
