#!lua flags=allow-oom
-- Says of tables what the catalogue has on record of them: whether their lanes take rows, and that definitions from
-- before are not to be kept any more. What is known from a newer record stays: of two that come in the wrong order the newer
-- one holds.
--
-- KEYS  for each table: where its definition is kept, then the states of its lanes
-- ARGV  for each table: 1 number of its lanes   2 state; '' for one that takes rows   3 life   4 schema version   5 revision
-- Answers {number of lanes that were changed, for each table of which something newer is known its number from 1}.
local key, answer = 1, {0}
for i = 1, #ARGV, 5 do
  local lanes, state, life, version, revision = tonumber(ARGV[i]), ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4])
  local kept = redis.call('HMGET', KEYS[key], 'life', 'version', 'revision')
  local keptLife, keptVersion, keptRevision = tonumber(kept[1] or 0), tonumber(kept[2] or 0), tonumber(kept[3] or 0)
  if keptLife > life or (keptLife == life and keptRevision > revision) then
    answer[#answer + 1] = (i + 4) / 5
  else
    if keptLife < life or keptVersion < version or keptRevision < revision then
      redis.call('HSET', KEYS[key], 'life', ARGV[i + 2], 'version', math.max(version, keptLife == life and keptVersion or 0), 'revision', ARGV[i + 4])
      redis.call('HDEL', KEYS[key], 'definition')
    end
    for lane = 1, lanes do
      local name = KEYS[key + lane]
      local known = redis.call('HMGET', name, 'inc', 'frozen')
      if known[1] and (known[2] or '') ~= state then
        answer[1] = answer[1] + 1
        if state == '' then redis.call('HDEL', name, 'frozen') else redis.call('HSET', name, 'frozen', state) end
      end
    end
  end
  key = key + lanes + 1
end
return answer
