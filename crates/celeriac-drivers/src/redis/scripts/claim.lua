-- Takes up to so many messages, and books each as held in the same step.
--
-- Lists come most urgent step first, the queues of a step in turn. A message that is due comes
-- before those in its list. Its count grows before anybody reads it.
--
-- KEYS from 4: the lists. ARGV: owner, credit, most deliveries, suspects, most bytes, queues; then
-- for each queue its name, and what follows the text of its messages in kombu's hash.
-- Returns "lapsed", or "ok", when the next message is due, the last revocation, whether something
-- was held back, the time in ms; then for each message its text and "count queue tag".
local owner, credit, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local suspects, most_bytes, queues = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
if not redis.call('ZSCORE', own .. 'consumers', owner) then return {'lapsed'} end

-- Most often there is neither.
local any = redis.call('EXISTS', parked, deliveries)
local any_parked = any > 0 and redis.call('EXISTS', parked) == 1
local any_counts = any > 0 and redis.call('EXISTS', deliveries) == 1
local last_revoked, now, index_s = redis.call('GET', own .. 'revoked_last') or '', now_ms(), now_s()
local reply, seen, held_back, copies = {'ok', '', last_revoked, '0', tostring(now)}, {}, false, 0
local new_unacked, new_index, new_held, counted = {}, {}, {}, {}
local sequence, booked = nil, 0
-- How many lists there are with messages, but for those that have given some.
local untouched, touched = redis.call('EXISTS', unpack(KEYS, 4)), {}
-- What is said of a message that was not delivered before, as most are.
local first_held, first_heads = string.gsub(owner, '%%', '%%%%') .. ' 1 %d %d ', {}
for queue = 1, queues do first_heads[queue] = string.format('1 %d ', queue) end

-- Up to so many messages of a list: texts, tags (false if there is none), counts (nil if unknown).
local function take(list, room)
  local texts, tags, counts = {}, {}, {}
  if any_parked then
    local due = redis.call('ZRANGEBYSCORE', own .. 'due:' .. list, '-inf', now, 'LIMIT', 0, room)
    for _, tag in ipairs(due) do
      local text, _, count = unpark(tag)
      if text then
        texts[#texts + 1], tags[#tags + 1], counts[#counts + 1] = text, tag, count
      else
        redis.call('ZREM', own .. 'due:' .. list, tag)
      end
    end
  end
  local parked = #texts
  local popped = {}
  if parked < room and (untouched > 0 or touched[list]) then
    popped = redis.call('RPOP', list, room - parked) or {}
  end
  if #popped > 0 and not touched[list] then
    touched[list] = true
    untouched = untouched - 1
  end
  for i = 1, #popped do
    local text = popped[i]
    texts[parked + i] = text
    tags[parked + i] = #text <= most_bytes and tag_of(text) or false
  end
  return texts, tags, counts
end

-- Gives a message another tag if one with its tag is held: a copy made by hand, or a sender that
-- repeats itself. Returns the text, the tag, and the count of a claim that came to nothing.
local function make_unique(text, tag, record)
  if not seen[tag] and not redis.call('ZSCORE', index, tag) then
    local _, count = read_held(record)
    return text, tag, count
  end
  copies = copies + 1
  local other = string.format('%s-%d-%d', string.sub(tag, 1, 100), now, copies)
  local from, to = string.find(text, '^.*"delivery_tag"%s*:%s*"')
  if from then
    text = string.sub(text, 1, to) .. other .. string.sub(text, to + #tag + 1)
  end
  return text, other, 0
end

-- Books one message; true if it may not be claimed now.
local function book(text, tag, count, list, queue)
  local name = ARGV[5 + 2 * queue]
  if #text > most_bytes then
    bury(text, list, name, 'malformed', 'its body is over the limit', 0)
    return false
  elseif not tag then
    bury(text, list, name, 'malformed', 'its envelope has no delivery tag', 0)
    return false
  elseif count > limit then
    bury(text, list, name, 'delivery_limit', 'nobody survived reading it', limit)
    counted[#counted + 1] = tag
    return false
  end
  if count > 0 and count < limit then
    if suspects <= 0 then return true end
    suspects = suspects - 1
  end
  if count > 0 then counted[#counted + 1] = tag end
  sequence = (sequence or redis.call('INCRBY', own .. 'claims', credit) - credit) + 1
  booked = booked + 1
  local at = 2 * booked
  new_unacked[at - 1], new_unacked[at] = tag, '[' .. text .. ARGV[6 + 2 * queue]
  new_index[at - 1], new_index[at] = index_s, tag
  new_held[at - 1] = tag
  if count == 0 then
    new_held[at] = string.format(first_held, #text, sequence) .. list
    reply[at + 4], reply[at + 5] = text, first_heads[queue] .. tag
  else
    new_held[at] = table.concat({owner, count + 1, #text, sequence, list}, ' ')
    reply[at + 4], reply[at + 5] = text, string.format('%d %d ', count + 1, queue) .. tag
  end
  return false
end

-- Claims from one list; how many were there.
local function claim_from(list, room, queue)
  local texts, tags, counts = take(list, room)
  if #texts == 0 then return 0 end
  local named = {}
  for i = 1, #tags do named[i] = tags[i] or '' end
  local records = redis.call('HMGET', held, unpack(named))
  local scores = redis.call('ZMSCORE', index, unpack(named))
  local stored = any_counts and redis.call('HMGET', deliveries, unpack(named)) or {}
  for i = 1, #tags do
    local tag = tags[i]
    if tag then
      counts[i] = counts[i] or stored[i] and tonumber(string.match(stored[i], '^%d+')) or 0
      if records[i] or scores[i] or seen[tag] then
        local text, other, stale = make_unique(texts[i], tag, records[i] or '- 0 0 0 ')
        texts[i], tags[i], counts[i] = text, other, math.max(counts[i], stale)
      end
      seen[tags[i]] = true
    end
  end
  for i = 1, #texts do
    if book(texts[i], tags[i], counts[i] or 0, list, queue) then
      held_back = true
      for j = #texts, i, -1 do
        if tags[j] then keep_count(tags[j], counts[j]) end
        redis.call('RPUSH', list, texts[j])
      end
      break
    end
  end
  return #texts
end

local share = math.max(1, math.ceil(credit / queues))
local function left() return credit - booked end
for first = 4, #KEYS, queues do
  repeat
    local more = false
    for queue = 1, queues do
      local room = math.min(share, left())
      if room > 0 and not held_back then
        -- A list that gave less than it was asked for is empty.
        more = claim_from(KEYS[first + queue - 1], room, queue) == room or more
      end
    end
  until not more or left() <= 0 or held_back
end

call_in_parts('HSET', unacked, new_unacked)
call_in_parts('ZADD', index, new_index)
call_in_parts('HSET', held, new_held)
if any_counts then call_in_parts('HDEL', deliveries, counted) end

if held_back then reply[4] = '1' end
if left() > 0 and any_parked then
  for i = 4, #KEYS do
    local first = redis.call('ZRANGE', own .. 'due:' .. KEYS[i], 0, 0, 'WITHSCORES')
    if first[2] and (reply[2] == '' or tonumber(first[2]) < tonumber(reply[2])) then
      reply[2] = first[2]
    end
  end
end
return reply
