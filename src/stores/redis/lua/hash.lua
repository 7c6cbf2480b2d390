-- Fields of a hash by their names; false for an absent field.
local function readHash(key, ...)
  local values, hash = redis.call('HMGET', key, ...), {}
  for i, name in ipairs({...}) do hash[name] = values[i] end
  return hash
end
