-- Ask for a run of the scheduler.
--
-- KEYS[1]  leader    KEYS[2]  again    KEYS[3]  wake: a wake-up is pending
-- ARGV[1]  life of a pending wake-up in ms
-- Returns  1 if the caller must send a wake-up, which is noted as pending; 0 if not: one is pending, or somebody
--          leads, who is reminded and will look again
--
-- Safe to call twice: a reminder or a wake-up that waits already is enough.
return ask_for_run(KEYS[1], KEYS[2], KEYS[3], ARGV[1])
