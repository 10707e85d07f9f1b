"""A job tracker as GitLab has it: a set of ids, and one script call to add a job unless the set is full."""

import redis

from bench.harness.measure import require

KEY = "bench:gitlab"
ADD_UNLESS_FULL = """
if redis.call('SCARD', KEYS[1]) >= tonumber(ARGV[2]) then
  return 0
end
redis.call('SADD', KEYS[1], ARGV[1])
return 1
"""


class SetTracker:
    """One call a job to register, one to remove."""

    def __init__(self, client: "redis.Redis", *, size: int) -> None:
        self._client = client
        self._size = size
        self._add = client.register_script(ADD_UNLESS_FULL)

    def register(self, job: object) -> bool:
        """Add a job. False: the set is full."""
        return bool(self._add(keys=[KEY], args=[job, self._size]))  # type: ignore[list-item]

    def remove(self, job: object) -> None:
        """Take a job out."""
        self._client.srem(KEY, str(job))

    def one_by_one(self, jobs: list[str]) -> None:
        """Register jobs and then remove them, each by a call of its own."""
        for job in jobs:
            require(self.register(job), otherwise="a job was refused")
        for job in jobs:
            self.remove(job)

    def in_pipelines(self, jobs: list[str]) -> None:
        """Send the same calls in two pipelines."""
        pipe = self._client.pipeline(transaction=False)
        for job in jobs:
            self._add(keys=[KEY], args=[job, self._size], client=pipe)
        require(all(map(int, pipe.execute())), otherwise="a job was refused")
        for job in jobs:
            pipe.srem(KEY, job)
        pipe.execute()
