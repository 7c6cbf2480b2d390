#!lua flags=allow-oom
-- Moves an entry of the outbox into the list of those that Postgres refuses. A second call changes nothing.
--
-- KEYS  1 outbox   2 refused manifests
-- ARGV  1 id of the entry   2 most refused manifests that are kept: the newest
local entry = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not entry then return end
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[2], '*', unpack(entry[2]))
redis.call('XDEL', KEYS[1], ARGV[1])
