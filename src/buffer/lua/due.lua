-- Lists lanes with pending rows, the one with the longest wait first.
--
-- KEYS  due         due set
-- ARGV  lanes_max   most lanes
--       isAll       '1' also lists lanes that wait for their next try after a failure
-- Returns the members of the due set.
--- @include "clock"
--- @include "integer"
local due = unpack(KEYS)
local lanes_max, isAll = unpack(ARGV)
if isAll == '1' then return redis.call('ZRANGE', due, 0, lanes_max - 1) end
return redis.call('ZRANGE', due, '-inf', integer(clock_ms()), 'BYSCORE', 'LIMIT', 0, lanes_max)
