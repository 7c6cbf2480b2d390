#!lua flags=allow-oom
-- Fixes the range of batches that one flush moves, and returns as many of them as fit into a reply; seal-page.lua returns
-- the others. A seal that is there already is taken over exactly as it is stored: whoever retries it sends the same rows
-- under the same token.
--
-- KEYS  1 lane state   2 lane log
-- ARGV  1 lane   2 most rows, 3 bytes, 4 partitions, 5 cells and 6 batches of one flush
--       7 version of the insert settings that a new seal is sent with   8 '1' to try although the last flush failed lately
--       9 most bytes of the batches in the reply   10 most bytes of what was said of the batches of one flush
--       11 name of the call: one that is sent again does not count as taken once more
-- Answers {'sealed' | 'taken-over', epoch, token, from, to, incarnation, rows, bytes, settings version, times it was taken,
--         skip list, the first batches}, a batch being {sequence, id, rows, received at (ms), schema version, earliest,
--         latest event time, meta, payload};
--         {'empty'}, {'unknown'}, {'waits', ms until the next try}, or {'fenced', what}: the log is not what the seal or
--         the sequence says.
local state = redis.call('HMGET', KEYS[1], 'inc', 'seq', 'w', 'epoch', 's_from', 's_to', 's_token', 's_rows', 's_bytes',
  's_settings', 's_skip', 'retry', 'hold', 's_import', 's_by')
local inc = state[1]
if not inc then return {'unknown'} end
-- An import has it, which brings its rows by itself, and nobody writes here.
if state[14] then return {'empty'} end
local w = tonumber(state[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[8] ~= '1' and state[12] and tonumber(state[12]) > now then return {'waits', tonumber(state[12]) - now} end

local function id(seq) return string.format('%.0f-0', seq) end
local function sequence(entry) return tonumber(string.match(entry[1], '^(%d+)')) end
local function fieldsOf(entry)
  local fields = {}
  for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
  return fields
end
local function tokenOf(from, to, ids)
  return string.format('%s:%.0f-%.0f:%s', ARGV[1], from, to, redis.sha1hex(table.concat(ids, ',')))
end
local batches, room = {}, tonumber(ARGV[9])
-- One batch always goes into the reply. What is beside its rows counts as 96 bytes.
local function reply(seq, fields)
  room = room - tonumber(fields.b) - 96
  if #batches > 0 and room < 0 then return end
  batches[#batches + 1] = {seq, fields.id, fields.n, fields.at, fields.v, fields.lo, fields.hi, fields.m, fields.p}
end

if state[7] then
  local from = tonumber(state[5])
  local to = tonumber(state[6])
  local ids = {}
  repeat
    -- A few at a time: a reply to a script may have a limit as well, and a batch may have more than a megabyte.
    local page = redis.call('XRANGE', KEYS[2], id(from + #ids), id(to), 'COUNT', 4)
    for _, entry in ipairs(page) do
      local seq, fields = sequence(entry), fieldsOf(entry)
      if seq ~= from + #ids then return {'fenced', 'gap'} end
      ids[#ids + 1] = fields.id
      reply(seq, fields)
    end
  until #page == 0 or from + #ids > to
  if #ids ~= to - from + 1 then return {'fenced', 'gap'} end
  if tokenOf(from, to, ids) ~= state[7] then return {'fenced', 'other-batches'} end
  -- A write, so that waiting for replicas on this connection means that they have the seal.
  redis.call('HSET', KEYS[1], 's_by', ARGV[11])
  local times = redis.call('HINCRBY', KEYS[1], 's_times', state[15] == ARGV[11] and 0 or 1)
  return {'taken-over', tonumber(state[4]), state[7], from, to, inc, tonumber(state[8]), tonumber(state[9]), tonumber(state[10]),
    times, state[11] or '', batches}
end

if tonumber(state[2]) == w then return {'empty'} end
-- Rows of the table are being deleted or corrected.
if state[13] and tonumber(state[13]) > now then return {'waits', tonumber(state[13]) - now} end

local rows, bytes, partitions, cells, said, hi, last = 0, 0, 0, 0, 0, 0, ''
local windows, ids = {}, {}
local to = w
local full = false
repeat
  local page = redis.call('XRANGE', KEYS[2], id(to + 1), '+', 'COUNT', 4)
  for _, entry in ipairs(page) do
    local seq, fields = sequence(entry), fieldsOf(entry)
    if seq ~= to + 1 then return {'fenced', 'gap'} end
    local added = 0
    for window in string.gmatch(fields.w, '[^,]+') do
      if not windows[window] then
        windows[window] = true
        added = added + 1
      end
    end
    rows = rows + tonumber(fields.n)
    bytes = bytes + tonumber(fields.b)
    cells = cells + tonumber(fields.c)
    partitions = partitions + added
    if fields.m ~= '' then said = said + #fields.m + 32 end
    -- One batch always goes: it was within the limits of a request.
    full = to > w and (rows > tonumber(ARGV[2]) or bytes > tonumber(ARGV[3]) or partitions > tonumber(ARGV[4])
      or cells > tonumber(ARGV[5]) or #ids >= tonumber(ARGV[6]) or said > tonumber(ARGV[10]))
    if full then
      rows = rows - tonumber(fields.n)
      bytes = bytes - tonumber(fields.b)
      break
    end
    to = seq
    hi = math.max(hi, tonumber(fields.hi))
    last = fields.at
    ids[#ids + 1] = fields.id
    reply(seq, fields)
  end
until full or #page == 0
if to == w then return {'fenced', 'gap'} end

local from = w + 1
-- Taken from the clock: after a failover of this buffer no seal has the epoch of one that it has forgotten.
local epoch = string.format('%.0f', math.max(tonumber(state[4]) + 1, now))
local token = tokenOf(from, to, ids)
redis.call('HSET', KEYS[1], 'epoch', epoch, 's_from', string.format('%.0f', from), 's_to', string.format('%.0f', to),
  's_token', token, 's_rows', rows, 's_bytes', bytes, 's_hi', string.format('%.0f', hi), 's_settings', ARGV[7],
  's_at', string.format('%.0f', now), 's_times', 1, 's_by', ARGV[11], 's_last', string.format('%.0f:%s', to, last))
return {'sealed', tonumber(epoch), token, from, to, inc, rows, bytes, tonumber(ARGV[7]), 1, '', batches}
