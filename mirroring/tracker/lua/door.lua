-- Take one job through the door: out of `processing`, and into `importing` if there is room.
--
-- KEYS[1]  ready    KEYS[2]  processing    KEYS[3]  importing: member = job token, score = deadline in ms
-- KEYS[4]  workers  KEYS[5]  slots announced by worker    KEYS[6]  counters    KEYS[7]  the jobs of its host
-- ARGV[1]  job token    ARGV[2]  capacity setting    ARGV[3]  lease in ms
-- ARGV[4]  how long the job has waited for this, in ms    ARGV[5]  how many jobs of its host may import
-- Returns  1 if the job holds an importing slot now (new or renewed), 0 if there is no room, 2 if its host holds all
--          that it may, -1 if the pools are not ready
--
-- Safe to call twice: a job that holds a slot keeps it.
redis.call('ZREM', KEYS[2], ARGV[1])
if not ready(KEYS[1]) then
  return -1
end
local held = redis.call('ZSCORE', KEYS[3], ARGV[1])
local runs = held and tonumber(held) > now
if not runs then
  local full = running(KEYS[3]) >= capacity(KEYS[4], KEYS[5], ARGV[2])
  local _, flying = host_holds(KEYS[7], KEYS[2], KEYS[3], tonumber(ARGV[5]), ARGV[1])
  if full or flying >= tonumber(ARGV[5]) then
    redis.call('SREM', KEYS[7], ARGV[1])
    redis.call('HINCRBY', KEYS[6], full and 'bounced' or 'bounced_by_host', 1)
    return full and 0 or 2
  end
end
redis.call('ZADD', KEYS[3], now + tonumber(ARGV[3]), ARGV[1])
add_to_host(KEYS[7], {ARGV[1]})
if not runs then
  redis.call('HINCRBY', KEYS[6], 'scheduled', 1)
  redis.call('HINCRBY', KEYS[6], 'queue_delay_ms', ARGV[4])
end
return 1
