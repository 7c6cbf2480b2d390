-- The log of a lane. Each entry is one batch, and its id is '<sequence>-0'.
--- @include "entry"
local function entryId(seq) return string.format('%.0f-0', seq) end

local function sequenceOf(entry) return tonumber(string.match(entry[1], '^(%d+)')) end

-- A batch in a reply: {sequence, id, rows, received at (ms), schema version, earliest and latest event time (ms), meta,
-- payload}.
local function batchOf(seq, fields)
  return {seq, fields.id, fields.n, fields.at, fields.v, fields.lo, fields.hi, fields.m, fields.p}
end

-- The size of a batch in a reply, with 96 bytes for everything but its rows.
local function bytesOf(fields) return tonumber(fields.b) + 96 end

-- Whether the last entry is another batch than field `at` of the lane state names ('<sequence>:<ms>'). State and log are
-- two keys: a buffer that merges replicas after a split may take each key from another side.
local function endsDifferently(log, at)
  local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  if not last or (at or '') == '' then return false end
  local received_ms = fieldsOf(last).at
  return received_ms ~= nil and string.match(last[1], '^%d+') .. ':' .. received_ms ~= at
end
