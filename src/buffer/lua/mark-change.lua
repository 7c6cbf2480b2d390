#!lua flags=allow-oom
-- Marks that somebody begins or has ended to change rows of a table that are stored. Both count, so that whoever compares
-- the count of two moments, neither within a change, knows whether there was one between them. A release ends a change
-- whose end was lost or never came, and counts like an end; whoever is released may begin again.
--
-- KEYS  1 state of lane 0   ARGV  1 'begin' | 'end' | 'release'   2 who changes them
-- Answers {'marked'}, again for who has marked it already, or {'unknown'}.
local state = redis.call('HMGET', KEYS[1], 'inc', 'changing', 'changed')
if not state[1] then return {'unknown'} end
local is_under_way = state[2] == ARGV[2]
if ARGV[1] == 'begin' then
  -- Who has ended and begins again is late, and may never end.
  if not is_under_way and state[3] == ARGV[2] then return {'marked'} end
  -- A write in any case, so that waiting for replicas on this connection means that they have the mark.
  redis.call('HSET', KEYS[1], 'changing', ARGV[2])
  if is_under_way then return {'marked'} end
else
  if not is_under_way then return {'marked'} end
  redis.call('HDEL', KEYS[1], 'changing')
  if ARGV[1] == 'end' then redis.call('HSET', KEYS[1], 'changed', ARGV[2]) end
end
redis.call('HINCRBY', KEYS[1], 'changes', 1)
return {'marked'}
