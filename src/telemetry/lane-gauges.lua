-- Reads the pending rows of lanes.
--
-- KEYS  outbox    manifests for Postgres
--       refused   refused manifests
--       states    state of each lane
-- Returns {now (ms), manifests in the outbox, refused manifests, lane, …}. A lane is {pending rows, pending bytes,
--         oldest (ms), consecutive failures}.
--- @include "clock"
--- @include "hash"
--- @include "rest"
local outbox, refused, states = unpackWithRest(KEYS, 2)
local answer = {clock_ms(), redis.call('XLEN', outbox), redis.call('XLEN', refused)}
for i, state in ipairs(states) do
  local current = readHash(state, 'rows', 'bytes', 'oldest', 'fails')
  answer[i + 3] = {tonumber(current.rows or 0), tonumber(current.bytes or 0), tonumber(current.oldest or 0),
    tonumber(current.fails or 0)}
end
return answer
