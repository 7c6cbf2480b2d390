-- The first members of a list, and a list of all further members.
local function unpackWithRest(list, count)
  local bound, rest = {unpack(list, 1, count)}, {}
  for i = count + 1, #list do rest[i - count] = list[i] end
  bound[count + 1] = rest
  return unpack(bound)
end
