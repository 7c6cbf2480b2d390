#!lua flags=allow-oom
-- Caches the definition of a table for all instances, unless the same or a newer one is cached already. A cached
-- definition without shards is from an older version and is replaced.
--
-- KEYS  tableKey        the cached definition
-- ARGV  life            life of the table; 0 when the catalogue has no such table
--       schemaVersion   schema version
--       revision        revision of the other properties
--       definition      definition (JSON), with the schema last
-- Returns {}, or {life, schema version, revision, definition} of a cached definition that differs: one of its numbers
--         is newer, or its schema is another one with the same numbers.
--- @include "hash"
local tableKey = unpack(KEYS)
local life, schemaVersion, revision, definition = unpack(ARGV)
local known = readHash(tableKey, 'life', 'version', 'revision', 'definition')
local knownLife, knownVersion = tonumber(known.life or 0), tonumber(known.version or 0)
local knownRevision = tonumber(known.revision or 0)
local kept = {known.life, known.version, known.revision, known.definition or ''}
local function schemaOf(text) return string.match(text, '"schema":(.*)$') end
if knownLife > tonumber(life) then return kept end
if life == '0' then return {} end
if knownLife == tonumber(life) then
  if knownVersion > tonumber(schemaVersion) or knownRevision > tonumber(revision) then return kept end
  local isSameVersion = knownVersion == tonumber(schemaVersion)
  if isSameVersion and known.definition and schemaOf(known.definition) ~= schemaOf(definition) then return kept end
  if isSameVersion and knownRevision == tonumber(revision)
    and known.definition and string.find(known.definition, '"shards":', 1, true) then return {} end
end
redis.call('HSET', tableKey, 'life', life, 'version', schemaVersion, 'revision', revision, 'definition', definition)
return {}
