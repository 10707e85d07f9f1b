"""What a run of checks awaits: its own questions, their rows by host and by the part with which they were leased."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar

from mirroring.scheduler.check_rows import Row
from mirroring.upstream.client.asks import Ask

K = TypeVar("K")

GRACE_SECONDS = 2.0
"""How long after its time an answer is still awaited; the prober looks for late ones once a second."""


class UnderWay:
    """The questions of one run. Its prober outlives it: answers to those of a run that broke off come in as well."""

    def __init__(self) -> None:
        self.rows = 0
        self._asks: dict[int, Ask] = {}
        self._hosts: Counter[int] = Counter()
        self._parts: Counter[datetime] = Counter()

    def add(self, asks: Iterable[Ask]) -> None:
        """Count what is asked, with all rows for which it is."""
        for ask in asks:
            self._asks[id(ask)] = ask
            for row in ask.for_whom:
                self._count(row, 1)

    def remove(self, ask: Ask) -> bool:
        """Count a question no more whose answer is here. False: nobody awaits it."""
        if self._asks.pop(id(ask), None) is None:
            return False
        for row in ask.for_whom:
            self._count(row, -1)
        return True

    def give_up(self, *, now: float) -> int:
        """Await no more what should have been answered long ago, and return how many questions that were.

        The oldest first; what was asked with a shorter time after them has to wait for them.
        """
        before = len(self._asks)
        while self._asks:
            oldest = next(iter(self._asks.values()))
            if oldest.until + oldest.patience + GRACE_SECONDS > now:
                break
            self.remove(oldest)
        return before - len(self._asks)

    def _count(self, row: Row, number: int) -> None:
        self.rows += number
        _add(self._hosts, row.host_id, number)
        _add(self._parts, row.leased_at, number)

    def hosts_with(self, rows: int) -> list[int]:
        """Return the hosts of which at least so many rows are under way."""
        return [host for host, number in self._hosts.items() if number >= rows]

    @property
    def asked(self) -> int:
        """Return how many questions are not answered yet."""
        return len(self._asks)

    @property
    def parts(self) -> int:
        """Return of how many parts that were leased at once something is under way."""
        return len(self._parts)


def _add(counter: "Counter[K]", key: K, number: int) -> None:
    counter[key] += number
    if not counter[key]:
        del counter[key]
