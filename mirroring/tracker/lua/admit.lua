-- Admit a batch of jobs to the pool `processing`, in the given order, before they are enqueued.
--
-- KEYS[1]  ready        KEYS[2]  processing: member = job token, score = deadline in ms
-- KEYS[3]  importing    KEYS[4]  workers      KEYS[5]  slots announced by worker
-- KEYS[6+] the jobs of each host of the batch
-- ARGV[1]  capacity setting     ARGV[2]  lease in ms
-- ARGV[3]  1: admit only while importing + processing stays within the capacity, and each host within its slots;
--          0: track all, refuse none
-- ARGV[4]  number h of hosts    ARGV[5..h+4]  how many jobs each of them may hold
-- then     pairs of job token and the number of its host, 1 to h; 0: not held to any
-- Returns  the places, from 1 on, of the jobs that were refused; -1 if the pools are not ready
--
-- Safe to call twice: a token that is in the pool already is not charged again.
if not ready(KEYS[1]) then
  return -1
end
local enforced, hosts = ARGV[3] == '1', tonumber(ARGV[4])
local tokens, host_of, wanted = {}, {}, {[0] = 0}
for at = hosts + 5, #ARGV, 2 do
  tokens[#tokens + 1] = ARGV[at]
  local h = tonumber(ARGV[at + 1])
  host_of[#host_of + 1] = h
  wanted[h] = (wanted[h] or 0) + 1
end
if #tokens == 0 then
  return {}
end
local free, in_force = #tokens, 0
if enforced then
  in_force = capacity(KEYS[4], KEYS[5], ARGV[1])
  free = in_force - running(KEYS[3]) - running(KEYS[2])
end
local room, entries, scarce = {[0] = #tokens}, {[0] = {}}, free < #tokens
for h = 1, hosts do
  local slots = tonumber(ARGV[4 + h])
  room[h], entries[h] = #tokens, {}
  -- One that may have the whole capacity is held to that alone.
  if enforced and slots < in_force then
    room[h] = slots - host_holds(KEYS[5 + h], KEYS[2], KEYS[3], slots)
  end
  scarce = scarce or room[h] < (wanted[h] or 0)
end
-- Where there is room for all it does not matter which of them are in already.
local held = scarce and redis.call('ZMSCORE', KEYS[2], unpack(tokens)) or {}
local deadline, refused, additions = now + tonumber(ARGV[2]), {}, {}
for i, token in ipairs(tokens) do
  local h, runs = host_of[i], held[i] and tonumber(held[i]) > now
  if runs or (free > 0 and room[h] > 0) then
    if not runs then
      free, room[h] = free - 1, room[h] - 1
    end
    additions[#additions + 1] = deadline
    additions[#additions + 1] = token
    entries[h][#entries[h] + 1] = token
  else
    refused[#refused + 1] = i
  end
end
if #additions > 0 then
  add_all(KEYS[2], nil, additions)
end
for h = 1, hosts do
  if #entries[h] > 0 then
    add_to_host(KEYS[5 + h], entries[h])
  end
end
return refused
