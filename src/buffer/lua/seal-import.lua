#!lua flags=allow-oom
-- Fixes the sequences of an import on a lane that only readers look at: none of its rows counts before all of them are
-- there. No batch of them is in the log, so that the lane's sequence stays at its watermark until they are published.
--
-- KEYS  1 lane state   2 state of lane 0, which knows the number of lanes
-- ARGV  1 lane   2 first and 3 last sequence   4 token   5 id of the import
-- Answers {'sealed'}, also when it is so already, {'published'} when it was published under this token last, {'busy'} when
--         there is another seal or batches wait, {'moved', watermark} when the sequences do not follow it, {'lanes'} when
--         writers use the lane or readers do not, or {'unknown'}.
local state = redis.call('HMGET', KEYS[1], 'inc', 'seq', 'w', 'epoch', 's_token', 'last')
local lanes = redis.call('HMGET', KEYS[2], 'lanes', 'rlanes')
if not state[1] or not lanes[1] then return {'unknown'} end
if state[6] == ARGV[4] then return {'published'} end
if state[5] == ARGV[4] then
  -- A write, so that waiting for replicas on this connection means that they have the seal.
  redis.call('HSET', KEYS[2], 'ilane', ARGV[1])
  return {'sealed'}
end
if state[5] or state[2] ~= state[3] then return {'busy'} end
if tonumber(lanes[1]) > tonumber(ARGV[1]) or tonumber(lanes[2]) <= tonumber(ARGV[1]) then return {'lanes', tonumber(state[3])} end
if tonumber(state[3]) ~= tonumber(ARGV[2]) - 1 then return {'moved', tonumber(state[3])} end
redis.call('HSET', KEYS[1], 'epoch', string.format('%.0f', tonumber(state[4]) + 1), 's_from', ARGV[2], 's_to', ARGV[3],
  's_token', ARGV[4], 's_import', ARGV[5])
-- Writers stay off it until then.
redis.call('HSET', KEYS[2], 'ilane', ARGV[1])
return {'sealed'}
