-- How many bytes the idempotency keys of datasets take. What has lapsed since a dataset was written to is left out.
--
-- KEYS  what is remembered of each dataset
-- Answers the bytes of each.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answer = {}
for i, key in ipairs(KEYS) do
  local slots, bytes = redis.call('HGETALL', key), 0
  for j = 1, #slots, 2 do
    local slot = tonumber(string.match(slots[j], '^b:(%d+)$') or '')
    if slot and slot > now then bytes = bytes + tonumber(slots[j + 1]) end
  end
  answer[i] = bytes
end
return answer
