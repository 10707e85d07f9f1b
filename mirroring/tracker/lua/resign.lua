-- Give the lease of the leader back.
--
-- KEYS[1]  leader    KEYS[2]  again
-- ARGV[1]  owner
-- Returns  1 if there is a reminder that nobody has heeded, so that another run is wanted, 0 if not
--
-- Safe to call twice: the second call finds nothing to give back and no reminder. One that led no more leaves the
-- reminder to the next leader.
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 and leads(KEYS[1]) then
  return 0
end
return redis.call('DEL', KEYS[2])
