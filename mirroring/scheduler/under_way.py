"""The rows of which a run of checks awaits an answer, by host and by the part with which they were leased."""

from collections import Counter
from datetime import datetime
from typing import TypeVar

from mirroring.scheduler.check_rows import Row

K = TypeVar("K")


class UnderWay:
    """How many rows are under way."""

    def __init__(self) -> None:
        self.rows = 0
        self._hosts: Counter[int] = Counter()
        self._parts: Counter[datetime] = Counter()

    def add(self, row: Row) -> None:
        """Count a row whose upstream is asked."""
        self.rows += 1
        self._hosts[row.host_id] += 1
        self._parts[row.leased_at] += 1

    def remove(self, row: Row) -> None:
        """Count a row whose answer is here no more."""
        self.rows -= 1
        _subtract(self._hosts, row.host_id)
        _subtract(self._parts, row.leased_at)

    def hosts_with(self, rows: int) -> list[int]:
        """Return the hosts of which at least so many rows are under way."""
        return [host for host, number in self._hosts.items() if number >= rows]

    @property
    def parts(self) -> int:
        """Return of how many parts that were leased at once something is under way."""
        return len(self._parts)


def _subtract(counter: "Counter[K]", key: K) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
