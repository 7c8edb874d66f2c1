-- As many arguments as one call may have, and an even number.
local MOST = 2000

-- Calls a command with any number of arguments after its key.
local function call_in_parts(command, key, args)
  for from = 1, #args, MOST do
    redis.call(command, key, unpack(args, from, math.min(from + MOST - 1, #args)))
  end
end

-- The values of any number of fields; false where there is none.
local function read_in_parts(command, key, fields)
  local values = {}
  for from = 1, #fields, MOST do
    local part = redis.call(command, key, unpack(fields, from, math.min(from + MOST - 1, #fields)))
    for i = 1, #part do values[from + i - 1] = part[i] end
  end
  return values
end
