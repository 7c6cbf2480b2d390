#!lua flags=allow-oom
-- Applies the catalogue's records of tables: whether their lanes accept rows, and which cached definitions are
-- outdated. A newer record that is known already stays: the order of two calls does not matter.
--
-- KEYS  keys     for each table: its cached definition, and the states of its lanes
-- ARGV  tables   for each table: number of lanes, state ('' accepts rows), life, schema version, revision
-- Returns {number of changed lanes, number (from 1) of a table with a newer record, …}.
--- @include "hash"
local keys = KEYS
local tables = ARGV
local answer, at = {0}, 1
for i = 1, #tables, 5 do
  local laneCount, frozen, life, schemaVersion, revision = unpack(tables, i, i + 4)
  local definition = keys[at]
  local kept = readHash(definition, 'life', 'version', 'revision')
  local keptLife, keptVersion = tonumber(kept.life or 0), tonumber(kept.version or 0)
  local keptRevision = tonumber(kept.revision or 0)
  local isSameLife = keptLife == tonumber(life)
  if keptLife > tonumber(life) or (isSameLife and keptRevision > tonumber(revision)) then
    answer[#answer + 1] = (i + 4) / 5
  else
    if keptLife < tonumber(life) or keptVersion < tonumber(schemaVersion) or keptRevision < tonumber(revision) then
      local newestVersion = math.max(tonumber(schemaVersion), isSameLife and keptVersion or 0)
      redis.call('HSET', definition, 'life', life, 'version', newestVersion, 'revision', revision)
      redis.call('HDEL', definition, 'definition')
    end
    for lane = 1, tonumber(laneCount) do
      local state = keys[at + lane]
      local current = readHash(state, 'inc', 'frozen')
      if current.inc and (current.frozen or '') ~= frozen then
        answer[1] = answer[1] + 1
        if frozen == '' then redis.call('HDEL', state, 'frozen') else redis.call('HSET', state, 'frozen', frozen) end
      end
    end
  end
  at = at + tonumber(laneCount) + 1
end
return answer
