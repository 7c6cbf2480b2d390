-- Returns the oldest entries of the outbox: as many as fit into one reply, and one at least.
--
-- KEYS  outbox           manifests for Postgres
-- ARGV  entries_max      most entries
--       page_bytes_max   most bytes of their manifests
-- Returns {'more' | 'all', entry, …}.
--- @include "entry"
local outbox = unpack(KEYS)
local entries_max, page_bytes_max = unpack(ARGV)
local answer, left_bytes = {'more'}, tonumber(page_bytes_max)
local from = '-'
repeat
  -- A few at a time: a reply within a script may have a limit too, and a manifest may have more than a megabyte.
  local page = redis.call('XRANGE', outbox, from, '+', 'COUNT', 4)
  for _, entry in ipairs(page) do
    left_bytes = left_bytes - #fieldsOf(entry).m - 96
    if #answer > tonumber(entries_max) or (#answer > 1 and left_bytes < 0) then return answer end
    answer[#answer + 1] = entry
    from = '(' .. entry[1]
  end
until #page < 4
answer[1] = 'all'
return answer
