-- Gives messages back of which the holder is no consumer any more, or is the one named.
--
-- ARGV: the owner that gives back of its own accord or "", whether those were delivered; then the
-- tags, in the order in which they go to the front of their lists.
-- Returns how many went back.
local willing, counts = ARGV[1], ARGV[2] == '1'
local back = 0
for i = 3, #ARGV do
  local tag = ARGV[i]
  local record = redis.call('HGET', held, tag)
  if record then
    local owner, count, length, _, list = read_held(record)
    local own_will = owner == willing
    if own_will or not redis.call('ZSCORE', own .. 'consumers', owner) then
      if own_will and not counts then count = count - 1 end
      local text = redis.call('ZSCORE', index, tag) and text_of(tag, length)
      if text then
        release(tag)
        give_back(tag, text, list, count)
        back = back + 1
      else
        -- Another worker gave it back, and has it now or has done it.
        redis.call('HDEL', held, tag)
        keep_count(tag, count)
      end
    end
  end
end
return back
