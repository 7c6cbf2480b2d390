#!lua flags=allow-oom
-- Moves an entry of the outbox to the list of manifests that Postgres refuses. A repeated call changes nothing.
--
-- KEYS  outbox        manifests for Postgres
--       refused       refused manifests
-- ARGV  entryId       id of the entry
--       refused_max   most refused manifests; the oldest are dropped
local outbox, refused = unpack(KEYS)
local entryId, refused_max = unpack(ARGV)
local entry = redis.call('XRANGE', outbox, entryId, entryId)[1]
if not entry then return end
redis.call('XADD', refused, 'MAXLEN', refused_max, '*', unpack(entry[2]))
redis.call('XDEL', outbox, entryId)
