#!lua flags=allow-oom
-- Adds to the sums that all instances share, the same numbers once however often they come. There is an end to how many
-- kinds of them there are.
--
-- KEYS  1 sums   2 where it is kept that these numbers were added
-- ARGV  1 JSON array of for how long that is kept (ms), and names and numbers in turn
-- Answers the number of names that there was no place for.
local most = 50000
local left, list = 0, cjson.decode(ARGV[1])
local room = most - redis.call('HLEN', KEYS[1])
if not redis.call('SET', KEYS[2], '1', 'NX', 'PX', string.format('%.0f', list[1])) then return 0 end
for i = 2, #list, 2 do
  if room > 0 or redis.call('HEXISTS', KEYS[1], list[i]) == 1 then
    redis.call('HINCRBY', KEYS[1], list[i], string.format('%.0f', list[i + 1]))
    room = room - 1
  else
    left = left + 1
  end
end
return left
