#!lua flags=allow-oom
-- Keeps a table's definition for functions that have not seen it, unless a newer one is kept already, or the same. One that says
-- nothing of shards is of an older version.
--
-- KEYS  1 table
-- ARGV  1 life, 0 where nothing is recorded   2 schema version   3 revision of the rest   4 definition (JSON), its schema last
-- Answers {}, or {life, schema version, revision, definition} of what is kept and does not agree: newer in one of its
-- numbers, or of the same ones with another schema.
local known = redis.call('HMGET', KEYS[1], 'life', 'version', 'revision', 'definition')
local life, version, revision = tonumber(known[1] or 0), tonumber(known[2] or 0), tonumber(known[3] or 0)
local kept = {known[1], known[2], known[3], known[4] or ''}
local function schemaOf(text) return string.match(text, '"schema":(.*)$') end
if life > tonumber(ARGV[1]) then return kept end
if ARGV[1] == '0' then return {} end
if life == tonumber(ARGV[1]) then
  if version > tonumber(ARGV[2]) or revision > tonumber(ARGV[3]) then return kept end
  if version == tonumber(ARGV[2]) and known[4] and schemaOf(known[4]) ~= schemaOf(ARGV[4]) then return kept end
  if version == tonumber(ARGV[2]) and revision == tonumber(ARGV[3])
    and known[4] and string.find(known[4], '"shards":', 1, true) then return {} end
end
redis.call('HSET', KEYS[1], 'life', ARGV[1], 'version', ARGV[2], 'revision', ARGV[3], 'definition', ARGV[4])
return {}
