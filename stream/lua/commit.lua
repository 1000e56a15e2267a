-- One compare-and-set for all that a batch changes in one scored partition.
-- KEYS[1] the state hash; KEYS[2..] the keys written, all of one slot.
-- ARGV[1] owner, ARGV[2] the revision this batch was computed from; then writes, each: command, index of its key in KEYS,
--         number of further arguments, the arguments.
-- Returns "ok"; "fenced" when another process owns the partition; "moved" when the revision is another. Nothing is written then.
-- Plain Lua without struct, cmsgpack or bit: it must run alike on Redis, Valkey and fakeredis.
local state = redis.call('HMGET', KEYS[1], 'owner', 'rev')
if state[1] ~= ARGV[1] then
  return 'fenced'
end
if (state[2] or '0') ~= ARGV[2] then
  return 'moved'
end
local at = 3
while at <= #ARGV do
  local command, key, count = ARGV[at], KEYS[tonumber(ARGV[at + 1])], tonumber(ARGV[at + 2])
  local arguments = {}
  for i = 1, count do
    arguments[i] = ARGV[at + 2 + i]
  end
  redis.call(command, key, unpack(arguments))
  at = at + 3 + count
end
redis.call('HSET', KEYS[1], 'rev', tostring(tonumber(ARGV[2]) + 1))
return 'ok'
