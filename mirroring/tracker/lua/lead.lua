-- Take or renew the lease of the one that leads.
--
-- KEYS[1]  leader: member = owner, score = deadline in ms    KEYS[2]  again: what the leader is reminded of
-- ARGV[1]  owner    ARGV[2]  lease in ms
-- Returns  1 if the owner leads now, 0 if another does; that one is then reminded to run once more, so that what
--          this caller came for is not lost
--
-- Safe to call twice: the owner keeps its lease.
return lead(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
