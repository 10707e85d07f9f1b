-- Put back into the pools what the rows say is held, after the server lost its memory, and say that it is done.
--
-- KEYS[1]  ready    KEYS[2]  processing    KEYS[3]  importing    KEYS[4+]  the jobs of each host
-- ARGV[1]  number n of processing leases    ARGV[2..3n+1]  n times deadline in ms, token, and the number of its host,
--          from 1 on; 0: not known
-- then     the same for the importing leases
-- Returns  1 if the pools were rebuilt, 0 if they were ready before
--
-- Safe to call twice. Leases that are there are kept, with the later of the two deadlines.
if ready(KEYS[1]) then
  return 0
end
local boundary = 3 * tonumber(ARGV[1]) + 1
local pools, entries = {{}, {}}, {}
for at = 2, #ARGV, 3 do
  local pool, host = pools[at <= boundary and 1 or 2], tonumber(ARGV[at + 2])
  pool[#pool + 1] = ARGV[at]
  pool[#pool + 1] = ARGV[at + 1]
  if host > 0 then
    entries[host] = entries[host] or {}
    table.insert(entries[host], ARGV[at + 1])
  end
end
for number, pool in ipairs(pools) do
  if #pool > 0 then
    add_all(KEYS[1 + number], 'GT', pool)
  end
end
for host, tokens in pairs(entries) do
  add_to_host(KEYS[3 + host], tokens)
end
redis.call('SET', KEYS[1], run_id())
return 1
