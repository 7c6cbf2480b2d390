#!lua flags=allow-oom
-- Keeps a table's definition for functions that have not seen it, unless a newer one is kept already, or the same. One that says
-- nothing of shards is of an older version.
--
-- KEYS  1 table   ARGV  1 life   2 schema version   3 revision of the rest   4 definition (JSON)
local known = redis.call('HMGET', KEYS[1], 'life', 'version', 'revision', 'definition')
local life = tonumber(known[1] or 0)
if life > tonumber(ARGV[1]) then return 0 end
if life == tonumber(ARGV[1]) then
  local version, revision = tonumber(known[2]), tonumber(known[3])
  if version > tonumber(ARGV[2]) or revision > tonumber(ARGV[3]) then return 0 end
  if version == tonumber(ARGV[2]) and revision == tonumber(ARGV[3])
    and known[4] and string.find(known[4], '"shards":', 1, true) then return 0 end
end
redis.call('HSET', KEYS[1], 'life', ARGV[1], 'version', ARGV[2], 'revision', ARGV[3], 'definition', ARGV[4])
return 1
