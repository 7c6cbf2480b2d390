#!lua flags=allow-oom
-- Adds counts to the sums of all instances. A part that is sent again counts once. The number of different sums is
-- limited.
--
-- KEYS  sums       hash of sums by name
--       part       key of this part
-- ARGV  list       a JSON array of the following
--       kept_ms    how long the key of the part is kept
--       counts     name and number in turn
-- Returns the number of names that were dropped at the limit.
--- @include "integer"
--- @include "rest"
local sums, part = unpack(KEYS)
local list = unpack(ARGV)
local kept_ms, counts = unpackWithRest(cjson.decode(list), 1)
local names_max = 50000
local dropped, left = 0, names_max - redis.call('HLEN', sums)
if not redis.call('SET', part, '1', 'NX', 'PX', integer(kept_ms)) then return 0 end
for i = 1, #counts, 2 do
  local name, number = counts[i], counts[i + 1]
  if left > 0 or redis.call('HEXISTS', sums, name) == 1 then
    redis.call('HINCRBY', sums, name, integer(number))
    left = left - 1
  else
    dropped = dropped + 1
  end
end
return dropped
