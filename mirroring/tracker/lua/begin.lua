-- Begin a run of the scheduler: take or renew the leader's lease, and say what is held, at one instant.
--
-- KEYS[1]  ready    KEYS[2]  processing    KEYS[3]  importing    KEYS[4]  workers    KEYS[5]  slots by worker
-- KEYS[6]  leader: member = owner, score = deadline in ms    KEYS[7]  again: what the leader is reminded of
-- KEYS[8]  wake: a wake-up is pending    KEYS[9]  refill mode
-- ARGV[1]  capacity setting    ARGV[2]  owner    ARGV[3]  lease in ms
-- Returns  {1 if the owner leads now or 0, 1 if freed slots remind the scheduler or 0,
--          ready (1 or 0), capacity in force, importing, processing, slots announced, now in ms}
--
-- What happens from now on wants another run: reminders of before are heeded by this one, if the owner leads. Safe
-- to call twice: the owner keeps its lease.
local leads_now = lead(KEYS[6], KEYS[7], ARGV[2], ARGV[3])
redis.call('DEL', unpack(leads_now == 1 and { KEYS[7], KEYS[8] } or { KEYS[8] }))
local slots = announced(KEYS[4], KEYS[5])
local kept = redis.call('MGET', KEYS[1], KEYS[9])
return {
  leads_now,
  kept[2] == 'event' and 1 or 0,
  is_of_this_run(kept[1]) and 1 or 0,
  math.max(0, math.min(tonumber(ARGV[1]), slots)),
  running(KEYS[3]),
  running(KEYS[2]),
  slots,
  now,
}
