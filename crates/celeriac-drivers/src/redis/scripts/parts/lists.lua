-- Puts a message back in its list, to be the next one.
local function give_back(tag, text, list, count)
  keep_count(tag, count)
  redis.call('RPUSH', list, mark_redelivered(text))
end
