-- Keeps a table's definition for functions that have not seen it, unless a newer one is kept already.
--
-- KEYS  1 table   ARGV  1 life   2 schema version   3 definition (JSON)
local known = redis.call('HMGET', KEYS[1], 'life', 'version')
local life = tonumber(known[1] or 0)
if life > tonumber(ARGV[1]) or (life == tonumber(ARGV[1]) and tonumber(known[2]) >= tonumber(ARGV[2])) then return 0 end
redis.call('HSET', KEYS[1], 'life', ARGV[1], 'version', ARGV[2], 'definition', ARGV[3])
return 1
