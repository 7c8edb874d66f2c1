-- Lets claimed messages wait for their time, unless their call was revoked meanwhile.
--
-- ARGV: for each its owner, tag, when it is due in ms, the id of its task.
-- Returns for each 1 if it waits, 0 if it is not the owner's any more, 2 if it was revoked.
local done, revoked = {}, own .. 'revoked'
for i = 1, #ARGV, 4 do
  local owner, tag, due_ms, id = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local record = redis.call('HGET', held, tag)
  local holder, count, length, _, list
  if record then holder, count, length, _, list = read_held(record) end
  local text = holder == owner and text_of(tag, length)
  if not text then
    done[#done + 1] = 0
  elseif redis.call('ZSCORE', revoked, '!' .. id) or redis.call('ZSCORE', revoked, '-' .. id) then
    done[#done + 1] = 2
  else
    -- It was only looked at: that is no delivery.
    park(tag, text, list, id, count - 1, due_ms)
    release(tag)
    done[#done + 1] = 1
  end
end
return done
