-- The oldest entries of the outbox, as many as fit into one reply, and one at least.
--
-- KEYS  1 outbox   ARGV  1 most entries   2 most bytes of their manifests
-- Answers {'more' | 'all', entry …}.
local answer, room = {'more'}, tonumber(ARGV[2])
local from = '-'
repeat
  -- A few at a time: a reply to a script may have a limit as well, and a manifest may have more than a megabyte.
  local page = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 4)
  for _, entry in ipairs(page) do
    room = room - #entry[2][2] - 96
    if #answer > tonumber(ARGV[1]) or (#answer > 1 and room < 0) then return answer end
    answer[#answer + 1] = entry
    from = '(' .. entry[1]
  end
until #page < 4
answer[1] = 'all'
return answer
