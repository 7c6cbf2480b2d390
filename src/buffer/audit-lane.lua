-- Adds up a lane's log against its state.
--
-- KEYS  1 lane state   2 lane log
-- Answers {batches between watermark and sequence, batches in the log, rows by the state, rows in the log,
--         'whole' | 'broken' (sequences in a row from the watermark on or not)} or {'unknown'}.
local state = redis.call('HMGET', KEYS[1], 'inc', 'seq', 'w', 'rows')
if not state[1] then return {'unknown'} end
local w, batches, rows, order = tonumber(state[3]), 0, 0, 'whole'
local from = '-'
repeat
  local page = redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', 4)
  for _, entry in ipairs(page) do
    batches = batches + 1
    if tonumber(string.match(entry[1], '^(%d+)')) ~= w + batches then order = 'broken' end
    for i = 1, #entry[2], 2 do
      if entry[2][i] == 'n' then rows = rows + tonumber(entry[2][i + 1]) end
    end
    from = '(' .. entry[1]
  end
until #page == 0
return {tonumber(state[2]) - w, batches, tonumber(state[4]), rows, order}
