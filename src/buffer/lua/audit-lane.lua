-- Compares the log of a lane with its state.
--
-- KEYS  state, log   of the lane
-- Returns {batches and rows by the state and in the log: batches expected, batches found, rows expected, rows found,
--         'whole' | 'broken'}, or {'unknown'} when the lane has no state. A whole log has consecutive sequences from
--         the watermark on and ends with the batch that the state names.
--- @include "hash"
--- @include "integer"
--- @include "log"
local state, log = unpack(KEYS)
local current = readHash(state, 'inc', 'seq', 'w', 'rows', 'at')
if not current.inc then return {'unknown'} end
local watermark, batches, rows, order, ending = tonumber(current.w), 0, 0, 'whole', nil
local from = '-'
repeat
  local page = redis.call('XRANGE', log, from, '+', 'COUNT', 4)
  for _, entry in ipairs(page) do
    local fields = fieldsOf(entry)
    batches = batches + 1
    if sequenceOf(entry) ~= watermark + batches then order = 'broken' end
    rows = rows + tonumber(fields.n or 0)
    if fields.at then ending = integer(watermark + batches) .. ':' .. fields.at end
    from = '(' .. entry[1]
  end
until #page == 0
-- A log with the expected number of batches may still belong to another side of a buffer that was split.
if ending and (current.at or '') ~= '' and ending ~= current.at then order = 'broken' end
return {tonumber(current.seq) - watermark, batches, tonumber(current.rows), rows, order}
