-- The fields of a stream entry by their names. Redis returns an entry as {id, {name, value, …}}.
local function fieldsOf(entry)
  local fields = {}
  for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
  return fields
end
