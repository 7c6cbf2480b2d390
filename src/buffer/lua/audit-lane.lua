-- Adds up a lane's log against its state.
--
-- KEYS  1 lane state   2 lane log
-- Answers {batches between watermark and sequence, batches in the log, rows by the state, rows in the log,
--         'whole' | 'broken' (sequences in a row from the watermark on, up to the batch that the state ends with, or not)} or {'unknown'}.
local state = redis.call('HMGET', KEYS[1], 'inc', 'seq', 'w', 'rows', 'at')
if not state[1] then return {'unknown'} end
local w, batches, rows, order, ending = tonumber(state[3]), 0, 0, 'whole', nil
local from = '-'
repeat
  local page = redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', 4)
  for _, entry in ipairs(page) do
    batches = batches + 1
    if tonumber(string.match(entry[1], '^(%d+)')) ~= w + batches then order = 'broken' end
    for i = 1, #entry[2], 2 do
      if entry[2][i] == 'n' then rows = rows + tonumber(entry[2][i + 1]) end
      if entry[2][i] == 'at' then ending = string.format('%.0f:%s', w + batches, entry[2][i + 1]) end
    end
    from = '(' .. entry[1]
  end
until #page == 0
-- With as many batches as the state says, the log may still be of another side of a buffer that was split.
if ending and (state[5] or '') ~= '' and ending ~= state[5] then order = 'broken' end
return {tonumber(state[2]) - w, batches, tonumber(state[4]), rows, order}
