-- Reads all lanes of a table at one moment: what ClickHouse has (the watermark), what is on its way (epoch and seal),
-- and the tail beyond it.
--
-- KEYS  state and log of each lane, in turn
-- ARGV  1 'entries' | 'state'   2 most rows and 3 bytes of the tail
-- Answers {now (ms), 'ready' | 'too-large' | 'skipped', lane …}, a lane being
--         {incarnation, sequence, watermark, epoch, sealed to or '', pending rows, oldest or '',
--         newest schema version staged, batches}, a batch {sequence, id, rows, received at (ms), latest event time, payload};
--         or {'unknown', lane} when a lane has no state.
local time = redis.call('TIME')
local lanes, rows, bytes = {}, 0, 0
for lane = 1, #KEYS / 2 do
  local state = redis.call('HMGET', KEYS[2 * lane - 1], 'inc', 'seq', 'w', 'epoch', 's_to', 'rows', 'bytes', 'oldest', 'v')
  if not state[1] then return {'unknown', lane - 1} end
  rows = rows + tonumber(state[6])
  bytes = bytes + tonumber(state[7])
  lanes[lane] = {state[1], tonumber(state[2]), tonumber(state[3]), tonumber(state[4]), state[5] or '', tonumber(state[6]),
    state[8] or '', tonumber(state[9]), {}}
end

local tail = 'skipped'
if ARGV[1] == 'entries' then
  tail = 'ready'
  if rows > tonumber(ARGV[2]) or bytes > tonumber(ARGV[3]) then tail = 'too-large' end
end
if tail == 'ready' then
  for lane = 1, #KEYS / 2 do
    local batches = lanes[lane][9]
    local after = string.format('%.0f-0', lanes[lane][3] + 1)
    for i, entry in ipairs(redis.call('XRANGE', KEYS[2 * lane], after, '+')) do
      local fields = {}
      for j = 1, #entry[2], 2 do fields[entry[2][j]] = entry[2][j + 1] end
      batches[i] = {tonumber(string.match(entry[1], '^(%d+)')), fields.id, tonumber(fields.n), fields.at, fields.hi, fields.p}
    end
  end
end
return {time[1] * 1000 + math.floor(time[2] / 1000), tail, unpack(lanes)}
