-- Reads the copy of a dataset's alert state.
--
-- KEYS  alertsKey  the copy
-- Returns {time in milliseconds, version, state (JSON), time of the last evaluation, dirty mark}; '' for what is absent.
--- @include "clock"
--- @include "hash"
local alertsKey = unpack(KEYS)
local known = readHash(alertsKey, 'version', 'state', 'evaluatedAt', 'dirty')
return {tostring(clock_ms()), known.version or '', known.state or '', known.evaluatedAt or '', known.dirty or ''}
