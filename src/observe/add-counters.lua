#!lua flags=allow-oom
-- Adds to the sums that all instances share. There is an end to how many kinds of them there are.
--
-- KEYS  1 sums   ARGV  1 JSON array of names and numbers in turn
-- Answers the number of names that there was no place for.
local most = 50000
local left, list = 0, cjson.decode(ARGV[1])
local room = most - redis.call('HLEN', KEYS[1])
for i = 1, #list, 2 do
  if room > 0 or redis.call('HEXISTS', KEYS[1], list[i]) == 1 then
    redis.call('HINCRBY', KEYS[1], list[i], string.format('%.0f', list[i + 1]))
    room = room - 1
  else
    left = left + 1
  end
end
return left
