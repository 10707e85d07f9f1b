-- Stands before every script. The server's own clock is used, so that workers need not agree on the time.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- Leases of a pool that still run. Ended ones are left to repair, which takes each with its row: were they forgotten
-- here, a clock that jumps back would have the row stand again without its slot.
local function running(pool)
  return redis.call('ZCOUNT', pool, '(' .. now, '+inf')
end

-- Import slots that live workers have announced.
local function announced(workers, slots)
  local names = redis.call('ZRANGEBYSCORE', workers, '(' .. now, '+inf')
  local total = 0
  if #names > 0 then
    for _, number in ipairs(redis.call('HMGET', slots, unpack(names))) do
      total = total + (tonumber(number) or 0)
    end
  end
  return total
end

-- The capacity in force: never more than there are workers to take the work.
local function capacity(workers, slots, max)
  return math.max(0, math.min(tonumber(max), announced(workers, slots)))
end

local function run_id()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
end

-- Whether the pools hold what the rows say. They do not after a flush, a lost tail of the append-only file or a
-- failover, until repair has rebuilt them and written this server's run id.
local function is_of_this_run(kept)
  return kept == run_id()
end

local function ready(key)
  return is_of_this_run(redis.call('GET', key))
end

-- Copy a part of a list; `unpack` would bear about 8,000 values only.
local function slice(list, first, last)
  local part = {}
  for at = first, last or #list do
    part[#part + 1] = list[at]
  end
  return part
end

-- Add members to a pool in few commands.
local function add_all(pool, flag, pairs_of_score_and_member)
  for at = 1, #pairs_of_score_and_member, 2000 do
    local last = math.min(at + 1999, #pairs_of_score_and_member)
    if flag then
      redis.call('ZADD', pool, flag, unpack(pairs_of_score_and_member, at, last))
    else
      redis.call('ZADD', pool, unpack(pairs_of_score_and_member, at, last))
    end
  end
end

-- Whether somebody leads.
local function leads(leader)
  return running(leader) > 0
end

-- Have the leader look once more before it goes. One reminder is enough, however much has happened: the next run
-- takes away all of them.
local function remind(again)
  redis.call('RPUSH', again, '1')
end

-- Take or renew the leader's lease for an owner; where another leads, remind that one. A lease that would last longer
-- than any is given is one from before the clock jumped back: whoever lives takes it anew.
local function lead(leader, again, owner, lease)
  redis.call('ZREMRANGEBYSCORE', leader, '-inf', now)
  redis.call('ZREMRANGEBYSCORE', leader, '(' .. now + 2 * lease, '+inf')
  if not redis.call('ZSCORE', leader, owner) and leads(leader) then
    remind(again)
    return 0
  end
  redis.call('ZADD', leader, now + tonumber(lease), owner)
  return 1
end

-- Ask for a run: remind the leader, or, without one, note a wake-up that the caller is to send (1).
local function ask_for_run(leader, again, wake, life)
  if leads(leader) then
    remind(again)
    return 0
  end
  return redis.call('SET', wake, '1', 'NX', 'PX', life) and 1 or 0
end

-- The jobs of one host, a plain set: a job counts while its lease in a pool runs, so that leases heal these counts
-- too. The size of the set is an upper bound; only where that forbids a job are the pools asked, and those forgotten
-- that neither knows. Returns how many jobs it holds in both pools, and how many of them are importing; with `but` the
-- job of that token is neither counted nor forgotten where the pools are asked.
--
-- A set must outlive the longest import that nothing else of its host follows.
local HOST_LIFE = 86400

local function host_holds(host, processing, importing, slots, but)
  local size = redis.call('SCARD', host)
  if size < slots or size == 0 then
    return size, size
  end
  local tokens, waits, runs = redis.call('SMEMBERS', host), 0, 0
  for at = 1, #tokens, 2000 do
    local part = slice(tokens, at, math.min(at + 1999, #tokens))
    local queued = redis.call('ZMSCORE', processing, unpack(part))
    local flying = redis.call('ZMSCORE', importing, unpack(part))
    local unknown = {}
    for i, token in ipairs(part) do
      if token == but then
        -- The caller's own.
      elseif (tonumber(flying[i] or nil) or 0) > now then
        runs = runs + 1
      elseif (tonumber(queued[i] or nil) or 0) > now then
        waits = waits + 1
      elseif not (queued[i] or flying[i]) then
        unknown[#unknown + 1] = token
      end
    end
    if #unknown > 0 then
      redis.call('SREM', host, unpack(unknown))
    end
  end
  return waits + runs, runs
end

-- A job that is there was added when it was admitted, which is not long ago beside the life of the set.
local function add_to_host(host, tokens)
  local added = 0
  for at = 1, #tokens, 2000 do
    added = added + redis.call('SADD', host, unpack(tokens, at, math.min(at + 1999, #tokens)))
  end
  if added > 0 then
    redis.call('EXPIRE', host, HOST_LIFE)
  end
end
