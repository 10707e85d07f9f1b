-- Announce a worker: its import slots, and what it wants known of itself.
--
-- KEYS[1]  workers: member = name, score = deadline in ms    KEYS[2]  slots by name    KEYS[3]  notes by name
-- KEYS[4]  counters
-- ARGV[1]  name    ARGV[2]  slots; negative: this worker leaves    ARGV[3]  life of the announcement in ms
-- ARGV[4]  notes, a JSON object    ARGV[5+]  pairs of counter and increment: what the process has counted since
-- Returns  the server's time in ms
--
-- Safe to call twice, but for the increments, which are not sent again. Workers that fell silent are forgotten here.
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 1000)) do
  redis.call('ZREM', KEYS[1], name)
  redis.call('HDEL', KEYS[2], name)
  redis.call('HDEL', KEYS[3], name)
end
if tonumber(ARGV[2]) < 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('HDEL', KEYS[2], ARGV[1])
  redis.call('HDEL', KEYS[3], ARGV[1])
else
  redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
  redis.call('HSET', KEYS[3], ARGV[1], ARGV[4])
end
for at = 5, #ARGV, 2 do
  redis.call('HINCRBY', KEYS[4], ARGV[at], ARGV[at + 1])
end
return now
