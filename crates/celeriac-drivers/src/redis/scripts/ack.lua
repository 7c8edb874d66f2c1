-- Acknowledges messages of one owner, from which nothing else follows.
--
-- ARGV: owner; then the tags, no more than a call may have arguments.
-- Returns for each 1, or 0 if it is not the owner's any more.
local owner, tags = ARGV[1] .. ' ', {unpack(ARGV, 2)}
local records = redis.call('HMGET', held, unpack(tags))
local done, ours = {}, {}
for i = 1, #tags do
  if records[i] and string.sub(records[i], 1, #owner) == owner then
    done[i] = 1
    ours[#ours + 1] = tags[i]
  else
    done[i] = 0
  end
end
if #ours == 0 then return done end
if redis.call('ZREM', index, unpack(ours)) < #ours then
  -- Another worker gave some back under us: those are not in the hash any more either.
  local seen = {}
  for i = 1, #tags do
    local tag = tags[i]
    if seen[tag] then
      done[i] = 0
    elseif done[i] == 1 and redis.call('HEXISTS', unacked, tag) == 0 then
      local _, delivered = read_held(records[i])
      keep_count(tag, delivered)
      done[i] = 0
    end
    seen[tag] = true
  end
end
redis.call('HDEL', unacked, unpack(ours))
redis.call('HDEL', held, unpack(ours))
return done
