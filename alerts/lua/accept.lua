-- What is planned for one episode becomes lasting, all or nothing: its newest event, what each endpoint is told, what waits.
-- ARGV: prefix, token, partition ('' when no record is behind it), offset, fate ('' or dead_lettered; 'push' adds to lanes only),
--       episode, sequence, head, body ('' keeps it), now, body_ms, episode_ms, look ('' forgets, else when to plan again),
--       close ('1': nobody needs more of it), lane_most, bodies, then so many pairs EVENT BODY,
--       then four a telling: ENDPOINT TOLD LANE ITEM (LANE '' when only TOLD is noted).
-- An item is EVENT|SAY|EPISODE|PLANNED_MS|FLAG, the flag u for urgent.
-- Answers fenced, broken KEY, seen, dead_lettered, duplicate, or applied and then pairs ENDPOINT DUE_MS of what must rest first.
local p, token, partition, offset, fate = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local episode, sequence, head, body, now = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local body_ms, episode_ms, look, close, most = ARGV[11], ARGV[12], ARGV[13], ARGV[14], tonumber(ARGV[15])
local FIRST = 17 + 2 * tonumber(ARGV[16])

if redis.call('GET', p .. ':lease') ~= token then return {'fenced'} end

-- A script that fails half-way keeps its first writes: look at the types of all keys before any write.
local kept = {hwm = 'hash', books = 'hash', waiting = 'hash', look = 'zset', resting = 'hash', spaced = 'hash'}
kept['episode:' .. episode] = 'hash'
for i = FIRST, #ARGV, 4 do
  if ARGV[i + 2] ~= '' then
    kept['lane:' .. ARGV[i] .. ':' .. ARGV[i + 2]] = 'list'
    kept['due:' .. ARGV[i]] = 'zset'
    kept['claims:' .. ARGV[i]] = 'hash'
  end
end
for name, wanted in pairs(kept) do
  local found = redis.call('TYPE', p .. ':' .. name)
  found = found.ok or found
  if found ~= 'none' and found ~= wanted then return {'broken', p .. ':' .. name} end
end

local books, told = p .. ':books', p .. ':episode:' .. episode
local known = tonumber(redis.call('HGET', told, 'sequence') or '-1')
if partition ~= '' then
  local seen = redis.call('HGET', p .. ':hwm', partition)
  if seen and tonumber(offset) <= tonumber(seen) then return {'seen'} end
  redis.call('HSET', p .. ':hwm', partition, offset)
  redis.call('HINCRBY', books, 'read', 1)
  if fate ~= '' then
    redis.call('HINCRBY', books, fate, 1)
    return {fate}
  end
  if tonumber(sequence) <= known then
    redis.call('HINCRBY', books, 'duplicate', 1)
    return {'duplicate'}
  end
  redis.call('HINCRBY', books, 'applied', 1)
elseif fate ~= 'push' and tonumber(sequence) < known then
  return {'duplicate'}
end

if fate ~= 'push' then
  redis.call('HSET', told, 'sequence', sequence, 'head', head)
  if body ~= '' then redis.call('HSET', told, 'body', body) end
  redis.call('PEXPIRE', told, episode_ms)
  if look == '' then
    redis.call('ZREM', p .. ':look', episode)
  else
    redis.call('ZADD', p .. ':look', look, episode)
  end
end
for i = 17, FIRST - 1, 2 do
  redis.call('SET', p .. ':event:' .. ARGV[i], ARGV[i + 1], 'PX', body_ms)
end

-- The oldest item behind those under way that says this (of this episode, where one is given) is said by a newer one.
local function drop(lane, from, say, of)
  for _, item in ipairs(redis.call('LRANGE', lane, from, -2)) do
    local its, one = string.match(item, '^[^|]*|([^|]*)|([^|]*)|')
    if its == say and (not of or one == of) then return redis.call('LREM', lane, 1, item) end
  end
  return 0
end

local answer = {'applied'}
for i = FIRST, #ARGV, 4 do
  local endpoint, lane_name, item = ARGV[i], ARGV[i + 2], ARGV[i + 3]
  if fate == 'push' then
    if ARGV[i + 1] ~= '' and redis.call('ZSCORE', p .. ':look', episode) then
      redis.call('HSETNX', told, 'told:' .. endpoint, ARGV[i + 1])
    end
  elseif close ~= '1' then
    redis.call('HSET', told, 'told:' .. endpoint, ARGV[i + 1])
  end
  if lane_name ~= '' then
    local lane, due = p .. ':lane:' .. endpoint .. ':' .. lane_name, p .. ':due:' .. endpoint
    local claim = redis.call('HGET', p .. ':claims:' .. endpoint, lane_name)
    local under_way = claim and tonumber(string.match(claim, ':(%d+)$')) or 0
    local say, urgent = string.match(item, '^[^|]*|([^|]*)|'), string.sub(item, -2) == '|u'
    local length = redis.call('RPUSH', lane, item)
    local dropped = 0
    if say == 'repeat' then dropped = drop(lane, under_way, 'repeat', episode) end
    -- A full lane drops its oldest update, never a firing or a resolved.
    if length - dropped > most then dropped = dropped + drop(lane, math.max(under_way, 1), 'updated') end
    redis.call('HINCRBY', p .. ':waiting', endpoint, 1 - dropped)
    local free = redis.call('HGET', p .. (urgent and ':spaced' or ':resting'), endpoint)
    local moment = free and math.max(tonumber(free), tonumber(now)) or tonumber(now)
    local score = redis.call('ZSCORE', due, lane_name)
    if not score then
      redis.call('ZADD', due, string.format('%.0f', moment), lane_name)
    elseif urgent and not claim and tonumber(score) > moment and redis.call('HEXISTS', p .. ':tries:' .. endpoint, lane_name) == 0 then
      redis.call('ZADD', due, string.format('%.0f', moment), lane_name)
    end
    if moment > tonumber(now) then
      answer[#answer + 1] = endpoint
      answer[#answer + 1] = string.format('%.0f', moment)
    end
  end
end
if close == '1' then
  for _, field in ipairs(redis.call('HKEYS', told)) do
    if field ~= 'sequence' then redis.call('HDEL', told, field) end
  end
end
return answer
