-- Who plans and sends: take the lease, keep it, or give it back. Only the holder's other scripts do anything.
-- ARGV: prefix, token, milliseconds (0 gives it back), take ('1' also takes one that nobody holds). Answers 1 for the holder, else 0.
local key, token, ms = ARGV[1] .. ':lease', ARGV[2], tonumber(ARGV[3])
local holder = redis.call('GET', key)
if holder and holder ~= token then return 0 end
if not holder and ARGV[4] ~= '1' then return 0 end
if ms > 0 then
  redis.call('SET', key, token, 'PX', ARGV[3])
  return 1
end
redis.call('DEL', key)
return 0
