-- Renew importing slots: all those of one worker in one call.
--
-- KEYS[1]  ready    KEYS[2]  importing
-- ARGV[1]  lease in ms    ARGV[2+]  job tokens
-- Returns  {1, the tokens that still held their slot}, or {0} if the pools are not ready and nothing can be said
--
-- A slot that ran out is not revived: somebody else may have been admitted in its place.
if not ready(KEYS[1]) then
  return {0}
end
local tokens = slice(ARGV, 2)
if #tokens == 0 then
  return {1, {}}
end
local scores = redis.call('ZMSCORE', KEYS[2], unpack(tokens))
local deadline, held, renewals = now + tonumber(ARGV[1]), {}, {}
for i, token in ipairs(tokens) do
  if scores[i] and tonumber(scores[i]) > now then
    held[#held + 1] = token
    renewals[#renewals + 1] = deadline
    renewals[#renewals + 1] = token
  end
end
if #renewals > 0 then
  add_all(KEYS[2], 'XX', renewals)
end
return {1, held}
