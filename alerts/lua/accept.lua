-- One record of the alerts topic becomes waiting deliveries, its offset and the books, all or nothing.
-- ARGV: prefix, token, partition ('' tells an old event again), offset, fate ('' or dead_lettered), episode, sequence, event,
--       type, body, now, body_ms, episode_ms, held_until (0: nothing is held), lane_most, then endpoint ids.
-- Answers fenced, broken KEY, seen, dead_lettered, duplicate or applied.
local p, token, partition, offset, fate = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local episode, sequence, event, kind, body = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local now, body_ms, episode_ms, held_until, most = ARGV[11], ARGV[12], ARGV[13], ARGV[14], tonumber(ARGV[15])
local FIRST = 16

if redis.call('GET', p .. ':lease') ~= token then return {'fenced'} end

-- A script that fails half-way keeps its first writes: look at the types of all keys before any write.
local kept = {hwm = 'hash', books = 'hash', waiting = 'hash', held = 'zset'}
kept['episode:' .. episode] = 'hash'
for i = FIRST, #ARGV do
  kept['lane:' .. ARGV[i] .. ':' .. episode] = 'list'
  kept['due:' .. ARGV[i]] = 'zset'
end
for name, wanted in pairs(kept) do
  local found = redis.call('TYPE', p .. ':' .. name)
  found = found.ok or found
  if found ~= 'none' and found ~= wanted then return {'broken', p .. ':' .. name} end
end

local books, told = p .. ':books', p .. ':episode:' .. episode
if partition ~= '' then
  local seen = redis.call('HGET', p .. ':hwm', partition)
  if seen and tonumber(offset) <= tonumber(seen) then return {'seen'} end
  redis.call('HSET', p .. ':hwm', partition, offset)
  redis.call('HINCRBY', books, 'read', 1)
  if fate ~= '' then
    redis.call('HINCRBY', books, fate, 1)
    return {fate}
  end
  local known = redis.call('HGET', told, 'sequence')
  if known and tonumber(sequence) <= tonumber(known) then
    redis.call('HINCRBY', books, 'duplicate', 1)
    return {'duplicate'}
  end
  redis.call('HINCRBY', books, 'applied', 1)
  redis.call('HSET', told, 'sequence', sequence, 'event', event)
  redis.call('PEXPIRE', told, episode_ms)
  redis.call('SET', p .. ':event:' .. event, body, 'PX', body_ms)
end

for i = FIRST, #ARGV do
  local endpoint = ARGV[i]
  local lane = p .. ':lane:' .. endpoint .. ':' .. episode
  redis.call('HSET', told, 'told:' .. endpoint, sequence)
  local length = redis.call('RPUSH', lane, event .. '|' .. kind)
  redis.call('HINCRBY', p .. ':waiting', endpoint, 1)
  if length == 1 then redis.call('ZADD', p .. ':due:' .. endpoint, now, episode) end
  if length > most then
    -- A full lane drops its oldest update, never a firing or a resolved; the first item may be on its way.
    local items = redis.call('LRANGE', lane, 1, -2)
    for _, item in ipairs(items) do
      if string.sub(item, -14) == '|alert.updated' then
        redis.call('LREM', lane, 1, item)
        redis.call('HINCRBY', p .. ':waiting', endpoint, -1)
        break
      end
    end
  end
end
if held_until ~= '0' then
  redis.call('ZADD', p .. ':held', held_until, episode)
else
  redis.call('ZREM', p .. ':held', episode)
end
return {'applied'}
