#!lua flags=allow-oom
-- Sets the quota of a dataset, unless a newer revision is set already. The usage of the dataset does not change.
--
-- KEYS  quota               quota of the dataset
-- ARGV  revision            revision of the record
--       day_rows_max        rows a day; '' for no limit
--       day_bytes_max       bytes a day; '' for no limit
--       storage_bytes_max   stored bytes; '' for no limit
-- Returns 0, or the newer revision.
local quota = unpack(KEYS)
local revision, day_rows_max, day_bytes_max, storage_bytes_max = unpack(ARGV)
local known = tonumber(redis.call('HGET', quota, 'revision') or 0)
if known > tonumber(revision) then return known end
redis.call('HSET', quota, 'revision', revision)
for name, limit in pairs({max_rows = day_rows_max, max_bytes = day_bytes_max, max_stored = storage_bytes_max}) do
  if limit == '' then redis.call('HDEL', quota, name) else redis.call('HSET', quota, name, limit) end
end
return 0
