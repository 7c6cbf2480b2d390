#!lua flags=allow-oom
-- Says of tables what the catalogue has on record of them: whether their lanes take rows, and that definitions from
-- before are not to be kept any more.
--
-- KEYS  for each table: where its definition is kept, then the states of its lanes
-- ARGV  for each table: 1 number of its lanes   2 state; '' for one that takes rows   3 life   4 schema version   5 revision
-- Answers the number of lanes that there are.
local key, there = 1, 0
for i = 1, #ARGV, 5 do
  local lanes, state, life, version, revision = tonumber(ARGV[i]), ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4])
  local kept = redis.call('HMGET', KEYS[key], 'life', 'version', 'revision')
  local keptLife = tonumber(kept[1] or 0)
  -- What is kept may be newer than who calls this; an older one must not come back.
  if keptLife < life or (keptLife == life and (tonumber(kept[2]) < version or tonumber(kept[3]) < revision)) then
    redis.call('HSET', KEYS[key], 'life', ARGV[i + 2], 'version', ARGV[i + 3], 'revision', ARGV[i + 4])
    redis.call('HDEL', KEYS[key], 'definition')
  end
  for lane = 1, lanes do
    local lane_state = KEYS[key + lane]
    if redis.call('HEXISTS', lane_state, 'inc') == 1 then
      there = there + 1
      if state == '' then redis.call('HDEL', lane_state, 'frozen') else redis.call('HSET', lane_state, 'frozen', state) end
    end
  end
  key = key + lanes + 1
end
return there
