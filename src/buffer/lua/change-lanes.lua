#!lua flags=allow-oom
-- Changes the number of lanes of a table, for writers and readers in one step. The number for readers never falls: any
-- lane that existed once may have pending rows. Writers never get the lane of an import.
--
-- KEYS  firstState   state of lane 0, which has both numbers
-- ARGV  writeLanes   lanes for writers; '' keeps their number
--       readLanes    lanes for readers, at least
-- Returns {'changed', lanes for writers, lanes for readers}, {'importing'} or {'unknown'}.
--- @include "hash"
local firstState = unpack(KEYS)
local writeLanes, readLanes = unpack(ARGV)
local current = readHash(firstState, 'lanes', 'rlanes', 'ilane')
if not current.rlanes then return {'unknown'} end
local writers = writeLanes == '' and current.lanes or writeLanes
if current.ilane and tonumber(writers) > tonumber(current.ilane) then return {'importing'} end
local readers = math.max(tonumber(current.rlanes), tonumber(readLanes))
redis.call('HSET', firstState, 'lanes', writers, 'rlanes', readers)
return {'changed', tonumber(writers), readers}
