-- Reads all lanes of a table at one moment: what ClickHouse has (the watermark), what is on its way (epoch and seal),
-- and the tail beyond it. Of batches that the caller has already, only their ids are sent.
--
-- KEYS  state and log of each lane, in turn
-- ARGV  1 'entries' | 'state'   2 most rows and 3 bytes of the tail   4 most bytes of the batches in the reply
--       then for each lane the newest sequence that the caller has, or 0, and the id of its batch
-- Answers {now (ms), 'ready' | 'more' | 'too-large' | 'skipped', lane …, how often stored rows were changed or -1 while they
--         are}: with 'more', batches did not fit into the reply, and the caller asks again once it has these. A lane is
--         {incarnation, sequence, watermark, epoch, sealed to or '', pending rows, bytes, oldest or '',
--         newest schema version staged, greatest event time ever flushed or '',
--         first sequence sent: those between the watermark and it are as the caller has them, batches from there on,
--         when the batch at the sequence and the one at the watermark were received, each '<sequence>:<ms>' or ''},
--         a batch {sequence, id, rows, received at (ms), schema version, earliest, latest event time, meta, payload};
--         {'lanes', for writers, for readers} when the table has another number of lanes than were asked for,
--         or {'unknown', lane} when a lane has no state.
local asked = #KEYS / 2
local count = redis.call('HMGET', KEYS[1], 'lanes', 'rlanes', 'changing')
if not count[1] then return {'unknown', 0} end
if tonumber(count[2]) ~= asked then return {'lanes', tonumber(count[1]), tonumber(count[2])} end

local function id(seq) return string.format('%.0f-0', seq) end
local function fieldsOf(entry)
  local fields = {}
  for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
  return fields
end

local time = redis.call('TIME')
local lanes, rows, bytes, changes = {}, 0, 0, 0
for lane = 1, asked do
  local state = redis.call('HMGET', KEYS[2 * lane - 1], 'inc', 'seq', 'w', 'epoch', 's_to', 'rows', 'bytes', 'oldest', 'v', 'maxet',
    'changes', 'at', 'wat')
  if not state[1] then return {'unknown', lane - 1} end
  rows = rows + tonumber(state[6])
  bytes = bytes + tonumber(state[7])
  changes = changes + tonumber(state[11] or 0)
  lanes[lane] = {state[1], tonumber(state[2]), tonumber(state[3]), tonumber(state[4]), state[5] or '', tonumber(state[6]),
    tonumber(state[7]), state[8] or '', tonumber(state[9]), state[10] or '', tonumber(state[3]) + 1, {},
    state[12] or '', state[13] or ''}
end

local tail, room, sent = 'skipped', tonumber(ARGV[4]), 0
if ARGV[1] == 'entries' then
  tail = 'ready'
  if rows > tonumber(ARGV[2]) or bytes > tonumber(ARGV[3]) then tail = 'too-large' end
end
if tail == 'ready' then
  for lane = 1, asked do
    local log, first, batches = KEYS[2 * lane], lanes[lane][11], lanes[lane][12]
    local has = tonumber(ARGV[2 * lane + 3])
    local last = has >= first and redis.call('XRANGE', log, id(has), id(has))[1]
    if last and fieldsOf(last).id == ARGV[2 * lane + 4] then first = has + 1 end
    lanes[lane][11] = first
    local from = id(first)
    repeat
      -- A few at a time: a reply to a script may have a limit as well, and a batch may have more than a megabyte.
      local page = tail == 'ready' and redis.call('XRANGE', log, from, '+', 'COUNT', 4) or {}
      for _, entry in ipairs(page) do
        local fields = fieldsOf(entry)
        -- One batch always goes. What is beside its rows counts as 96 bytes.
        room = room - tonumber(fields.b) - 96
        if sent > 0 and room < 0 then
          tail = 'more'
          break
        end
        sent = sent + 1
        local seq = tonumber(string.match(entry[1], '^(%d+)'))
        batches[#batches + 1] = {seq, fields.id, fields.n, fields.at, fields.v, fields.lo, fields.hi, fields.m, fields.p}
        from = '(' .. entry[1]
      end
    until #page == 0
  end
end
lanes[asked + 1] = count[3] and -1 or changes
return {time[1] * 1000 + math.floor(time[2] / 1000), tail, unpack(lanes)}
