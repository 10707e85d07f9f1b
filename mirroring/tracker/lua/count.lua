-- Count what is held, at one instant.
--
-- KEYS[1]  ready    KEYS[2]  processing    KEYS[3]  importing    KEYS[4]  workers    KEYS[5]  slots by worker
-- ARGV[1]  capacity setting
-- Returns  {ready (1 or 0), capacity in force, importing, processing, slots announced, now in ms}
return {
  ready(KEYS[1]) and 1 or 0,
  capacity(KEYS[4], KEYS[5], ARGV[1]),
  running(KEYS[3]),
  running(KEYS[2]),
  announced(KEYS[4], KEYS[5]),
  now,
}
