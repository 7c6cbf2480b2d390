-- Sums the bytes of unexpired idempotency keys of datasets.
--
-- KEYS  datasets   hash of the keys of each dataset: field `b:<time>` has the bytes of the keys that expire by then
-- Returns the bytes of each dataset.
--- @include "clock"
local datasets = KEYS
local now_ms = clock_ms()
local answer = {}
for i, remembered in ipairs(datasets) do
  local slots, bytes = redis.call('HGETALL', remembered), 0
  for j = 1, #slots, 2 do
    local slot_ms = tonumber(string.match(slots[j], '^b:(%d+)$') or '')
    if slot_ms and slot_ms > now_ms then bytes = bytes + tonumber(slots[j + 1]) end
  end
  answer[i] = bytes
end
return answer
