"""The CPU time of processes that are not our children, and of what they have started and waited for."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from bench.harness.measure import Cost

_TICKS = os.sysconf("SC_CLK_TCK")


class Stopwatch:
    """Measures from now on what the processes use that a function names."""

    def __init__(self, pids: Callable[[], list[int]]) -> None:
        self._pids = pids
        self._cpu, self._wall = _used(pids()), time.perf_counter()

    def stop(self) -> Cost:
        """Return what was used since."""
        wall = time.perf_counter() - self._wall
        return Cost(wall=wall, cpu=_used(self._pids()) - self._cpu)


def _used(pids: list[int]) -> float:
    return sum(_of(pid) for pid in pids)


def _of(pid: int) -> float:
    """Return user and system time, also of the children that it has waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS
