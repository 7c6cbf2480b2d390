#!lua flags=allow-oom
-- Sets what a dataset may take, unless something newer is set already. What it has taken stays counted.
--
-- KEYS  1 quota of the dataset   ARGV  1 revision of the record   2 rows and 3 bytes a day, 4 bytes stored; '' for no limit
-- Answers 0, or the newer revision that is set.
local known = tonumber(redis.call('HGET', KEYS[1], 'revision') or 0)
if known > tonumber(ARGV[1]) then return known end
redis.call('HSET', KEYS[1], 'revision', ARGV[1])
for i, name in ipairs({'max_rows', 'max_bytes', 'max_stored'}) do
  if ARGV[i + 1] == '' then redis.call('HDEL', KEYS[1], name) else redis.call('HSET', KEYS[1], name, ARGV[i + 1]) end
end
return 0
