#!lua flags=allow-oom
-- Marks the beginning or the end of a change to stored rows of a table. Both increment `changes`: a reader that
-- compares the counts of two moments, neither within a change, notices every change between them. A release replaces an
-- end that was lost or never came, and counts like an end; the released job may begin again.
--
-- KEYS  firstState   state of lane 0
-- ARGV  mark         'begin' | 'end' | 'release'
--       changedBy    the job that changes rows
-- Returns {'marked'}, also for a repeated mark, or {'unknown'}.
--- @include "hash"
local firstState = unpack(KEYS)
local mark, changedBy = unpack(ARGV)
local current = readHash(firstState, 'inc', 'changing', 'changed')
if not current.inc then return {'unknown'} end
local isUnderWay = current.changing == changedBy
if mark == 'begin' then
  -- A job that has ended and begins again is late, and may never end.
  if not isUnderWay and current.changed == changedBy then return {'marked'} end
  -- A write in any case: with it, WAIT on this connection covers the mark.
  redis.call('HSET', firstState, 'changing', changedBy)
  if isUnderWay then return {'marked'} end
else
  if not isUnderWay then return {'marked'} end
  redis.call('HDEL', firstState, 'changing')
  if mark == 'end' then redis.call('HSET', firstState, 'changed', changedBy) end
end
redis.call('HINCRBY', firstState, 'changes', 1)
return {'marked'}
