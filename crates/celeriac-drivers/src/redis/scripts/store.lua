-- Stores results.
--
-- ARGV: for each its key, payload, expiry in ms or '', whether it is final, what is known to be there.
-- Returns the places, from 1, of those that were not stored because what is there cannot be read here.
local undecided = {}
for i = 1, #ARGV, 5 do
  if not store_result(unpack(ARGV, i, i + 4)) then undecided[#undecided + 1] = (i + 4) / 5 end
end
return undecided
