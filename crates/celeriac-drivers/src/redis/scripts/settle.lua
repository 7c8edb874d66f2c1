-- Carries out settlements, each whole or not at all: result, follow-ups, verdict.
--
-- ARGV: how many; for each its owner, then for each its tag; then for each, in turn:
--   results  0, or 1 and key, payload, expiry in ms, whether it is final, what is known to be there
--   messages how many, and for each the command, the key and its text
--   verdict  "a", or "r" and count, time in ms or 0, task id, or "d" and reason, detail, queue,
--            count
-- Returns for each 1, or 0 if it is not the owner's any more, or 2 if nothing of it was done because
-- what is stored as its result cannot be read here.
local count = tonumber(ARGV[1])
local tags = {unpack(ARGV, 2 + count, 1 + 2 * count)}
local records = read_in_parts('HMGET', held, tags)
local scores = read_in_parts('ZMSCORE', index, tags)
local done, acked, at = {}, {}, 2 + 2 * count

local function next_arg()
  at = at + 1
  return ARGV[at - 1]
end

-- Reads, and carries out if it is ours, what comes before the verdict. Returns whether it is decided.
local function prepare(ours)
  if next_arg() == '1' then
    local from = at
    at = at + 5
    ours = ours and store_result(unpack(ARGV, from, from + 4))
  end
  for _ = 1, tonumber(next_arg()) do
    local command, key, text = next_arg(), next_arg(), next_arg()
    if ours then redis.call(command, key, text) end
  end
  return ours
end

local function requeue(tag, length, list, deliveries_so_far, eta_ms, id)
  local text = text_of(tag, length)
  release(tag)
  if not text then return end
  if eta_ms > now_ms() then
    park(tag, text, list, id, deliveries_so_far, eta_ms)
  else
    give_back(tag, text, list, deliveries_so_far)
  end
end

local seen = {}
for i, tag in ipairs(tags) do
  local owner, delivered, length, _, list
  if records[i] then owner, delivered, length, _, list = read_held(records[i]) end
  local named = owner == ARGV[1 + i] and not seen[tag]
  local ours = named and scores[i]
  if named and not ours then
    -- Another worker gave it back under us.
    redis.call('HDEL', held, tag)
    keep_count(tag, delivered)
  end
  local undecided = ours
  ours = prepare(ours)
  local verdict = next_arg()
  if verdict == 'r' then
    local so_far, eta_ms, id = tonumber(next_arg()), tonumber(next_arg()), next_arg()
    if ours then requeue(tag, length, list, so_far, eta_ms, id) end
  elseif verdict == 'd' then
    local reason, detail, queue, so_far = next_arg(), next_arg(), next_arg(), next_arg()
    if ours then
      bury(text_of(tag, length) or '', list, queue, reason, detail, so_far)
      release(tag)
    end
  elseif ours then
    acked[#acked + 1] = tag
  end
  if ours then seen[tag] = true end
  done[i] = ours and 1 or undecided and 2 or 0
end

call_in_parts('ZREM', index, acked)
call_in_parts('HDEL', unacked, acked)
call_in_parts('HDEL', held, acked)
return done
