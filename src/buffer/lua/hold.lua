#!lua flags=allow-oom
-- Has lanes take no new seals for a while; a seal that there is goes on.
--
-- KEYS  state of each lane   ARGV  1 for how long (ms), 0 to end it
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, key in ipairs(KEYS) do
  if redis.call('HEXISTS', key, 'inc') == 1 then
    if ARGV[1] == '0' then redis.call('HDEL', key, 'hold') else redis.call('HSET', key, 'hold', string.format('%.0f', now + ARGV[1])) end
  end
end
return #KEYS
