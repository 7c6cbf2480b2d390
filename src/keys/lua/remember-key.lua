#!lua flags=allow-oom
-- Caches the record of an API key for all instances, unless a newer record is cached already. A revocation survives an
-- instance that read the key before it.
--
-- KEYS  apiKeys    hash of records by id
-- ARGV  id         id of the API key
--       revision   revision of the record
--       record     the record (JSON)
-- Returns '', or the newer record in the cache.
local apiKeys = unpack(KEYS)
local id, revision, record = unpack(ARGV)
local known = redis.call('HGET', apiKeys, id)
if known and cjson.decode(known).key.revision > tonumber(revision) then return known end
redis.call('HSET', apiKeys, id, record)
return ''
