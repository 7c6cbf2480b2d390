-- Returns further batches of a seal, for whoever holds that seal: its batches are in the log for as long as it is not
-- published.
--
-- KEYS  1 lane state   2 lane log
-- ARGV  1 epoch   2 token   3 sequence of the first of them   4 most bytes of the batches in the reply
-- Answers {'page', batch …}, one at least, a batch as in seal.lua; {'published'} when the seal is over, or {'gap'}.
local state = redis.call('HMGET', KEYS[1], 'epoch', 's_token', 's_to')
if state[1] ~= ARGV[1] or state[2] ~= ARGV[2] then return {'published'} end

local function id(seq) return string.format('%.0f-0', seq) end
local next, to, room = tonumber(ARGV[3]), tonumber(state[3]), tonumber(ARGV[4])
local answer = {'page'}
repeat
  local page = redis.call('XRANGE', KEYS[2], id(next), id(to), 'COUNT', 4)
  for _, entry in ipairs(page) do
    local fields = {}
    for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
    local seq = tonumber(string.match(entry[1], '^(%d+)'))
    if seq ~= next then return {'gap'} end
    room = room - tonumber(fields.b) - 96
    if #answer > 1 and room < 0 then return answer end
    answer[#answer + 1] = {seq, fields.id, fields.n, fields.at, fields.v, fields.lo, fields.hi, fields.m, fields.p}
    next = seq + 1
  end
until #page == 0 or next > to
if next <= to then return {'gap'} end
return answer
