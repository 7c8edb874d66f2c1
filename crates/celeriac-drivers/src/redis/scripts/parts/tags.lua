-- The delivery tag in a message's text; nil if there is none. It is the last of its name: a header
-- of the sender's own may have the same one. Senders write it at the end, so that is looked at first.
-- One of other characters than ASCII is none: it becomes a key of ours, which all have to read.
local function tag_of(text)
  local usual = string.match(text, '^"delivery_tag": "([%w-]+)"}}$', -56)
  if usual then return usual end
  local from = string.find(text, '"delivery_tag"', -100, true)
  local tag = from and string.match(text, '^"delivery_tag"%s*:%s*"([^"\\%c\128-\255]+)"', from)
  if tag and not string.find(text, '"delivery_tag"', from + 1, true) then return tag end
  -- Without the anchor a text that has none would be searched once from each of its bytes.
  return string.match(text, '^.*"delivery_tag"%s*:%s*"([^"\\%c\128-\255]+)"')
end
