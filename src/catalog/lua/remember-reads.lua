#!lua flags=allow-oom
-- Caches which system answers the queries of a dataset, unless a newer revision is cached already.
--
-- KEYS  reads      hash of '<revision> <mode>' by dataset
-- ARGV  dataset    dataset
--       revision   revision of the dataset
--       mode       off | compare | on
-- Returns 0, or the newer revision in the cache.
local reads = unpack(KEYS)
local dataset, revision, mode = unpack(ARGV)
local known = redis.call('HGET', reads, dataset)
local knownRevision = known and tonumber(string.match(known, '^%d+')) or 0
if knownRevision > tonumber(revision) then return knownRevision end
redis.call('HSET', reads, dataset, revision .. ' ' .. mode)
return 0
