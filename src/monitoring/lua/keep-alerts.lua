#!lua flags=allow-oom
-- Keeps a version of a dataset's alert state, unless the copy is of a later one. Clears marks of versions up to this one,
-- and a mark that is so old that its transaction can no longer commit.
--
-- KEYS  alertsKey    the copy
-- ARGV  version      version of the state
--       evaluatedAt  time of the evaluation that made it, in milliseconds
--       expiredAt    marks that were set until this time have expired, in milliseconds
--       state        state (JSON)
--- @include "hash"
local alertsKey = unpack(KEYS)
local version, evaluatedAt, expiredAt, state = unpack(ARGV)
local known = readHash(alertsKey, 'version', 'evaluatedAt', 'dirty', 'dirtyAt')
local knownVersion = tonumber(known.version or '-1')
if knownVersion == tonumber(version) then evaluatedAt = math.max(tonumber(evaluatedAt), tonumber(known.evaluatedAt)) end
if knownVersion <= tonumber(version) then
  redis.call('HSET', alertsKey, 'version', version, 'state', state, 'evaluatedAt', evaluatedAt)
end
local isCovered = tonumber(known.dirty or '0') <= tonumber(version)
if known.dirty and (isCovered or tonumber(known.dirtyAt) <= tonumber(expiredAt)) then
  redis.call('HDEL', alertsKey, 'dirty', 'dirtyAt')
end
return {}
