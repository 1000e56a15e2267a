-- The next delivery that is due at one endpoint. Its lane is set aside until it is finished or the claim ends.
-- ARGV: prefix, token, endpoint, now, claim_ms, first ('1': the claims of whoever was here before are void).
-- Answers fenced; wait MS ('' when nothing waits); or item EPISODE EVENT TYPE ATTEMPT FENCE BODY ('' when the body expired).
local p, token, endpoint, now, claim_ms, first = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
if redis.call('GET', p .. ':lease') ~= token then return {'fenced'} end

local due, claims = p .. ':due:' .. endpoint, p .. ':claims:' .. endpoint
if first == '1' then
  for _, episode in ipairs(redis.call('HKEYS', claims)) do redis.call('ZADD', due, now, episode) end
  redis.call('DEL', claims)
end

local ready = redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, 1)
if #ready == 0 then
  local nearest = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
  if #nearest == 0 then return {'wait', ''} end
  return {'wait', string.format('%.0f', tonumber(nearest[2]))}
end
local episode = ready[1]
local item = redis.call('LINDEX', p .. ':lane:' .. endpoint .. ':' .. episode, 0)
if not item then
  redis.call('ZREM', due, episode)
  return {'wait', now}
end
local bar = string.find(item, '|', 1, true)
local event, kind = string.sub(item, 1, bar - 1), string.sub(item, bar + 1)
local fence = tostring(redis.call('INCR', p .. ':fence'))
local attempt = redis.call('HINCRBY', p .. ':tries:' .. endpoint, episode, 1)
redis.call('HSET', claims, episode, fence)
redis.call('ZADD', due, string.format('%.0f', tonumber(now) + tonumber(claim_ms)), episode)
local body = redis.call('GET', p .. ':event:' .. event)
return {'item', episode, event, kind, attempt, fence, body or ''}
