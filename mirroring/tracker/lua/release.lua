-- Free what jobs hold at their end, in whichever pool, and say whether the scheduler is to be woken.
--
-- KEYS[1]  processing    KEYS[2]  importing    KEYS[3]  refill mode, set by dispatch    KEYS[4]  wake-up pending
-- KEYS[5]  leader        KEYS[6]  again: what the leader is reminded of
-- ARGV[1]  life of a pending wake-up in ms    ARGV[2+]  job tokens
-- Returns  1 if the caller must send a wake-up, which is noted as pending; 0 if not: none is wanted, one is pending,
--          or somebody leads, who is reminded
--
-- Unconditional, so safe to call twice: a token names one job and is never used again.
for at = 2, #ARGV, 2000 do
  local tokens = slice(ARGV, at, math.min(at + 1999, #ARGV))
  redis.call('ZREM', KEYS[1], unpack(tokens))
  redis.call('ZREM', KEYS[2], unpack(tokens))
end
if redis.call('GET', KEYS[3]) ~= 'event' then
  return 0
end
return ask_for_run(KEYS[5], KEYS[6], KEYS[4], ARGV[1])
