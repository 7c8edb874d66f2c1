-- Sets the two flags that kombu sets in a message it gives back.
local function mark_redelivered(text)
  if string.find(text, '"redelivered"%s*:%s*true') then return text end
  for _, name in ipairs({'headers', 'delivery_info'}) do
    local _, last = string.find(text, '"' .. name .. '"%s*:%s*{')
    if last then
      local comma = string.find(text, '^%s*}', last + 1) and '' or ', '
      text = string.sub(text, 1, last) .. '"redelivered": true' .. comma
        .. string.sub(text, last + 1)
    end
  end
  return text
end
