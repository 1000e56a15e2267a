-- What is due at one endpoint: up to so many lanes, up to so many items of each, set aside until finished or the claim ends.
-- ARGV: prefix, token, endpoint, now, claim_ms, first ('1': the claims of whoever was here before are void), lanes, items,
--       wanted (a lane that goes before the others).
-- Answers fenced; broken KEY; wait MS ('' when nothing waits); or claimed and then {LANE, FENCE, ATTEMPT, {ITEM, BODY, ...}}
-- (BODY '' when it expired).
local p, token, endpoint, now, claim_ms, first = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local lanes, items, wanted = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
if redis.call('GET', p .. ':lease') ~= token then return {'fenced'} end

local due, claims, tries = p .. ':due:' .. endpoint, p .. ':claims:' .. endpoint, p .. ':tries:' .. endpoint
for key, kind in pairs({[due] = 'zset', [claims] = 'hash', [tries] = 'hash'}) do
  local found = redis.call('TYPE', key)
  found = found.ok or found
  if found ~= 'none' and found ~= kind then return {'broken', key} end
end
if first == '1' then
  for _, lane in ipairs(redis.call('HKEYS', claims)) do redis.call('ZADD', due, now, lane) end
  redis.call('DEL', claims)
end

local ready = {}
if wanted ~= '' then
  local score = redis.call('ZSCORE', due, wanted)
  if score and tonumber(score) <= tonumber(now) then ready = {wanted} end
end
if #ready == 0 then ready = redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, lanes) end

local answer = {'claimed'}
for _, lane in ipairs(ready) do
  local found = redis.call('LRANGE', p .. ':lane:' .. endpoint .. ':' .. lane, 0, items - 1)
  if #found == 0 then
    redis.call('ZREM', due, lane)
  else
    local fence = tostring(redis.call('INCR', p .. ':fence'))
    local attempt = redis.call('HINCRBY', tries, lane, 1)
    redis.call('HSET', claims, lane, fence .. ':' .. #found)
    redis.call('ZADD', due, string.format('%.0f', tonumber(now) + tonumber(claim_ms)), lane)
    local taken = {}
    for _, item in ipairs(found) do
      taken[#taken + 1] = item
      taken[#taken + 1] = redis.call('GET', p .. ':event:' .. string.match(item, '^[^|]*')) or ''
    end
    answer[#answer + 1] = {lane, fence, attempt, taken}
  end
end
if #answer > 1 then return answer end
local nearest = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
if #nearest == 0 then return {'wait', ''} end
return {'wait', string.format('%.0f', tonumber(nearest[2]))}
