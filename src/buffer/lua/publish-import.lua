#!lua flags=allow-oom
-- Makes an import history, once ClickHouse has all its rows: moves the watermark to its end, and the sequence with it. A
-- second call after the first had its effect gets the same answer.
--
-- KEYS  1 lane state   2 state of lane 0
-- ARGV  1 lane   2 token   3 last sequence   4 latest event time (ms)   5 schema version   6 when its rows were received (ms)
-- Answers {'published'}, {'already'} when the lane is there or further on, {'fenced'} or {'unknown'}.
local state = redis.call('HMGET', KEYS[1], 'inc', 's_token', 's_to', 'maxet', 'v', 'w')
if not state[1] then return {'unknown'} end
if state[2] ~= ARGV[2] then return {tonumber(state[6]) >= tonumber(ARGV[3]) and 'already' or 'fenced'} end
local time = redis.call('TIME')
local at = state[3] .. ':' .. ARGV[6]
redis.call('HSET', KEYS[1], 'w', state[3], 'seq', state[3], 'at', at, 'wat', at,
  'maxet', string.format('%.0f', math.max(tonumber(state[4] or 0), tonumber(ARGV[4]))),
  'v', math.max(tonumber(state[5]), tonumber(ARGV[5])),
  'flushed', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)), 'last', ARGV[2])
redis.call('HDEL', KEYS[1], 's_from', 's_to', 's_token', 's_import')
if redis.call('HGET', KEYS[2], 'ilane') == ARGV[1] then redis.call('HDEL', KEYS[2], 'ilane') end
return {'published'}
