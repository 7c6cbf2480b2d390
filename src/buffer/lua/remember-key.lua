#!lua flags=allow-oom
-- Keeps what is on record of a key for functions that have not seen it, unless something newer is kept already: of a
-- revocation and a reader that looked before it, the revocation stays.
--
-- KEYS  1 keys   ARGV  1 id   2 revision   3 the record (JSON)
-- Answers '', or the newer record that is kept.
local known = redis.call('HGET', KEYS[1], ARGV[1])
if known and cjson.decode(known).key.revision > tonumber(ARGV[2]) then return known end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return ''
