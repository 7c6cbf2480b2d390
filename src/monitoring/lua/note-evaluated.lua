#!lua flags=allow-oom
-- Notes an evaluation that changed nothing.
--
-- KEYS  alertsKey    the copy
-- ARGV  version      version that was evaluated
--       evaluatedAt  time of the evaluation, in milliseconds
--- @include "hash"
local alertsKey = unpack(KEYS)
local version, evaluatedAt = unpack(ARGV)
local known = readHash(alertsKey, 'version', 'evaluatedAt')
if known.version ~= version or tonumber(known.evaluatedAt or '0') >= tonumber(evaluatedAt) then return {} end
redis.call('HSET', alertsKey, 'evaluatedAt', evaluatedAt)
return {}
