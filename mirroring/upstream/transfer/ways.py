"""How the mirrors of a host can be listed, as far as this process has lately seen: it spares others the failed tries.

What a mirror's own import found comes first, for behind one name there may be several servers. This is in memory only:
a wrong guess costs a slower listing, and is forgotten.
"""

import threading
import time
from dataclasses import dataclass, field

from mirroring.upstream.client.dialing import Origin
from mirroring.upstream.client.probe import Way

REMEMBERED_SECONDS = 3600.0
FAILURES_IN_A_ROW = 3
"""So often git has to list what could not be listed in process, before that is not tried any more."""

MOST = 10_000


@dataclass
class _Seen:
    way: Way | None = None
    failures: int = 0
    at: float = field(default_factory=time.monotonic)

    @property
    def is_fresh(self) -> bool:
        return time.monotonic() - self.at < REMEMBERED_SECONDS


class Ways:
    """What was seen of hosts. Safe to use from threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[Origin, _Seen] = {}

    def of(self, origin: Origin) -> Way | None:
        """Return how others of this host were listed. GIT: in process it failed, time after time; None: not known."""
        with self._lock:
            seen = self._fresh(origin)
            return Way.GIT if seen.failures >= FAILURES_IN_A_ROW else seen.way

    def worked(self, origin: Origin, way: Way) -> None:
        """Note that a repository was listed in process."""
        with self._lock:
            self._keep(origin, _Seen(way))

    def failed(self, origin: Origin) -> None:
        """Note that git listed what could not be listed in process."""
        with self._lock:
            seen = self._fresh(origin)
            if seen.way is None:  # Where it works for others, the repository is to blame, and not the host.
                self._keep(origin, _Seen(failures=seen.failures + 1))

    def _fresh(self, origin: Origin) -> _Seen:
        seen = self._seen.get(origin)
        return seen if seen is not None and seen.is_fresh else _Seen()

    def _keep(self, origin: Origin, seen: _Seen) -> None:
        self._seen.pop(origin, None)
        self._seen[origin] = seen
        if len(self._seen) > MOST:
            del self._seen[next(iter(self._seen))]


WAYS_OF_HOSTS = Ways()
"""What this process has seen."""
