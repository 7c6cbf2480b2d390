#!lua flags=allow-oom
-- Moves the end of a lane in which nothing waits to where ClickHouse is: the buffer failed over, and has forgotten batches
-- that it had published.
--
-- KEYS  1 lane state
-- ARGV  1 incarnation   2 watermark as the caller has seen it   3 the new one   4 when the batch there was received (ms), 0
--       where that is not known   5 latest event time up to there (ms)
-- Answers {'advanced'}, or {'other'} when the lane is not as the caller has seen it.
local state = redis.call('HMGET', KEYS[1], 'inc', 'seq', 'w', 'epoch', 's_token', 'maxet')
if state[1] ~= ARGV[1] or state[2] ~= ARGV[2] or state[3] ~= ARGV[2] or state[5] then return {'other'} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local at = ARGV[4] == '0' and '' or ARGV[3] .. ':' .. ARGV[4]
-- Another epoch, so that an answer which is under way is not taken for exact.
redis.call('HSET', KEYS[1], 'seq', ARGV[3], 'w', ARGV[3], 'at', at, 'wat', at,
  'epoch', string.format('%.0f', math.max(tonumber(state[4]) + 1, now)),
  'maxet', string.format('%.0f', math.max(tonumber(state[6] or 0), tonumber(ARGV[5]))))
return {'advanced'}
