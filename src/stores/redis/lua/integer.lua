-- A whole number as text. Lua's own conversion writes large numbers with an exponent.
local function integer(number) return string.format('%.0f', number) end
