-- Find what a leader left behind that died.
--
-- KEYS[1]  leader    KEYS[2]  again
-- Returns  1 if nobody leads, and there is a lease that was not given back or a reminder that nobody can heed; else 0
--
-- A leader that dies between `begin` and its claim has taken its reminders with it: only its lease tells of it. The
-- next leader forgets the lease. Reads only.
return not leads(KEYS[1]) and redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 and 1 or 0
