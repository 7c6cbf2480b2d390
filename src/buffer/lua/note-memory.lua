#!lua flags=allow-oom
-- Records the memory use of the buffer for the script that stages rows. The record expires soon: an outdated one must
-- not keep rows from being staged.
--
-- KEYS  memory       the record
-- ARGV  used_bytes   memory in use
--       bytes_max    memory limit; '' when unknown
--       valid_ms     when the record expires
--- @include "clock"
--- @include "integer"
local memory = unpack(KEYS)
local used_bytes, bytes_max, valid_ms = unpack(ARGV)
redis.call('DEL', memory)
redis.call('HSET', memory, 'used', used_bytes, 'at', integer(clock_ms()))
if bytes_max ~= '' then redis.call('HSET', memory, 'max', bytes_max) end
return redis.call('PEXPIRE', memory, valid_ms)
