-- Gives waiting messages back to their lists, as kombu's, so that workers of another kind find
-- them when none of ours is left.
--
-- KEYS from 4: the lists. ARGV: how many at most.
-- Returns how many went back; none if a consumer of ours still lives.
if redis.call('ZCARD', own .. 'consumers') > 0 then return 0 end
local back, most = 0, tonumber(ARGV[1])
for i = 4, #KEYS do
  for _, tag in ipairs(redis.call('ZRANGE', own .. 'due:' .. KEYS[i], 0, most - back - 1)) do
    local text, list, count = unpark(tag)
    if text then
      keep_count(tag, count)
      redis.call('LPUSH', list, text)
      back = back + 1
    end
  end
  if back >= most then break end
end
return back
