-- The server's time, asked for once.
local asked
local function time()
  asked = asked or redis.call('TIME')
  return asked
end

-- In ms.
local function now_ms() return time()[1] * 1000 + math.floor(time()[2] / 1000) end

-- In whole seconds, rounded up, for the index: reading fractions is what takes longest in it.
local function now_s() return string.format('%d', time()[1] + 1) end
