-- How one try ended: so many items leave the lane, the others wait until `again`; a row of the log each; how the endpoint fares.
-- ARGV: prefix, token, endpoint, lane, fence, now, pop, again ('' when it got through), rest ('' or until when the endpoint wants
--       no more), spaced (when the urgent may go), following (when what is left goes), forget ('1': the next try is a first one),
--       rows_most, health ('' unchanged), heal ('1': all lanes are due), then rows.
-- Answers fenced, broken KEY, stale (the claim is not this one any more) or ok.
local p, token, endpoint, lane, fence = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local now, pop, again, rest, spaced, following = ARGV[6], tonumber(ARGV[7]), ARGV[8], ARGV[9], ARGV[10], ARGV[11]
local forget, rows_most, health, heal = ARGV[12], tonumber(ARGV[13]), ARGV[14], ARGV[15]
if redis.call('GET', p .. ':lease') ~= token then return {'fenced'} end

local due, claims, log = p .. ':due:' .. endpoint, p .. ':claims:' .. endpoint, p .. ':log:' .. endpoint
local list, tries = p .. ':lane:' .. endpoint .. ':' .. lane, p .. ':tries:' .. endpoint
for key, kind in pairs({[due] = 'zset', [claims] = 'hash', [log] = 'list', [list] = 'list', [tries] = 'hash', [p .. ':health'] = 'hash'}) do
  local found = redis.call('TYPE', key)
  found = found.ok or found
  if found ~= 'none' and found ~= kind then return {'broken', key} end
end
local claim = redis.call('HGET', claims, lane)
if not claim or string.match(claim, '^%d+') ~= fence then return {'stale'} end
redis.call('HDEL', claims, lane)
for i = 16, #ARGV do redis.call('LPUSH', log, ARGV[i]) end
redis.call('LTRIM', log, 0, rows_most - 1)
if health ~= '' then redis.call('HSET', p .. ':health', endpoint, health) end
if rest ~= '' then
  redis.call('HSET', p .. ':resting', endpoint, rest)
  redis.call('HSET', p .. ':spaced', endpoint, spaced)
end
if pop > 0 then
  redis.call('LTRIM', list, pop, -1)
  redis.call('HINCRBY', p .. ':waiting', endpoint, -pop)
end
if forget == '1' then redis.call('HDEL', tries, lane) end
if redis.call('LLEN', list) == 0 then
  redis.call('ZREM', due, lane)
  redis.call('HDEL', tries, lane)
elseif again ~= '' then
  redis.call('ZADD', due, again, lane)
else
  if tonumber(spaced) < tonumber(following) then
    for _, item in ipairs(redis.call('LRANGE', list, 0, -1)) do
      if string.sub(item, -2) == '|u' then following = spaced end
    end
  end
  redis.call('ZADD', due, following, lane)
end
if heal == '1' then
  for _, other in ipairs(redis.call('ZRANGE', due, 0, -1)) do
    if other ~= lane and redis.call('HEXISTS', claims, other) == 0 then redis.call('ZADD', due, now, other) end
  end
end
return {'ok'}
