-- How one try ended: the delivery leaves its lane (done), or waits until `again`; one row of the endpoint's log either way.
-- ARGV: prefix, token, endpoint, episode, fence, now, again ('': done), row, rows_most.
-- Answers fenced, stale (the claim is not this one any more) or ok.
local p, token, endpoint, episode, fence = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local now, again, row, rows_most = ARGV[6], ARGV[7], ARGV[8], tonumber(ARGV[9])
if redis.call('GET', p .. ':lease') ~= token then return {'fenced'} end

local due, claims, log = p .. ':due:' .. endpoint, p .. ':claims:' .. endpoint, p .. ':log:' .. endpoint
if redis.call('HGET', claims, episode) ~= fence then return {'stale'} end
redis.call('HDEL', claims, episode)
redis.call('LPUSH', log, row)
redis.call('LTRIM', log, 0, rows_most - 1)
if again ~= '' then
  redis.call('ZADD', due, again, episode)
  return {'ok'}
end
local lane = p .. ':lane:' .. endpoint .. ':' .. episode
redis.call('LPOP', lane)
redis.call('HINCRBY', p .. ':waiting', endpoint, -1)
redis.call('HDEL', p .. ':tries:' .. endpoint, episode)
if redis.call('LLEN', lane) == 0 then
  redis.call('ZREM', due, episode)
else
  redis.call('ZADD', due, now, episode)
end
return {'ok'}
