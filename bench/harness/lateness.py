"""How late checks are: by a panel of mirrors whose rows are read now and then."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass
class Panel:
    """Mirrors that do not change. Each row holds when it is due next, and so, an interval before, when it was done."""

    numbers: Sequence[int]
    first: int
    interval: timedelta
    _due: dict[int, datetime] = field(default_factory=dict)
    _late: list[tuple[datetime, float]] = field(default_factory=list)
    _looked: float = -math.inf

    def look(self) -> None:
        """Read the rows, often enough to see every check."""
        if time.monotonic() - self._looked < self.interval.total_seconds() / 3:
            return
        self._looked = time.monotonic()
        from mirroring.models import ImportState

        ids = [self.first + number for number in self.numbers]
        for mirror, due in ImportState.objects.filter(pk__in=ids).values_list("pk", "next_execution_at"):
            before = self._due.get(mirror, due)
            if due != before:
                done = due - self.interval
                self._late.append((done, (done - before).total_seconds()))
            self._due[mirror] = due

    def late(self, *, now: datetime) -> list[float]:
        """Return the seconds by which each check was late; what is overdue counts as if it were done now."""
        self._looked = -math.inf
        self.look()
        overdue = [(now - due).total_seconds() for due in self._due.values() if due < now]
        return sorted([late for _, late in self._late] + overdue)

    def worst(self, *, began: datetime, step: timedelta) -> list[float]:
        """Return by how many seconds the latest of the checks was late that were done in each step of time."""
        worst: dict[int, float] = {}
        for done, late in self._late:
            place = max(0, (done - began) // step)
            worst[place] = max(late, worst.get(place, 0.0))
        return [round(worst.get(place, 0.0), 2) for place in range(max(worst, default=-1) + 1)]


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that so many percent do not exceed; the values are sorted."""
    return values[max(0, math.ceil(len(values) * percent / 100) - 1)] if values else math.inf
