-- Stores results.
--
-- ARGV: for each its key, payload, expiry in ms, whether it is final.
for i = 1, #ARGV, 4 do store_result(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]) end
return 1
