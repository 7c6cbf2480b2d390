#!lua flags=allow-oom
-- Records which rows of a seal are not sent, for whoever holds that seal and knows the list that it replaces.
--
-- KEYS  1 lane state
-- ARGV  1 epoch   2 token   3 the list so far   4 the list from now on; '' for none
-- Answers {'recorded'} or {'fenced'}.
local state = redis.call('HMGET', KEYS[1], 'epoch', 's_token', 's_skip')
if state[1] ~= ARGV[1] or state[2] ~= ARGV[2] then return {'fenced'} end
local current = state[3] or ''
-- Again, after an answer that was lost.
if current == ARGV[4] then return {'recorded'} end
if current ~= ARGV[3] then return {'fenced'} end
redis.call('HSET', KEYS[1], 's_skip', ARGV[4])
return {'recorded'}
