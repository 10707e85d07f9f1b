"""Which mirrors equal their upstream, looked at on disk as cheaply as it goes."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.acceptance.plan import Failed
from tests.acceptance.upstreams import Source
from tests.verify import git_facts

PAUSE_SECONDS = 0.3


class Watch:
    """Compares a mirror again only when one of its two files that hold refs has been replaced."""

    def __init__(self, paths: dict[str, Path]) -> None:
        self._paths = paths
        self._seen: dict[str, tuple[int, ...]] = {}

    def is_fresh(self, source: Source) -> bool:
        """Tell whether the mirror equals its upstream as it is now."""
        path = self._paths[source.name]
        stamp = tuple(_inode(path / file) for file in ("packed-refs", "HEAD"))
        if self._seen.get(source.name) == stamp or not all(stamp):
            return False
        self._seen[source.name] = stamp
        try:
            upstream, mirror = git_facts.read(source.compare_with), git_facts.read(path)
        except git_facts.Unreadable:
            return False
        return not git_facts.differences(upstream=upstream, mirror=mirror)

    def wait(
        self,
        sources: Iterable[Source],
        *,
        seconds: float,
        seen: Callable[[Source, float], None],
        trouble: Callable[[list[Source]], str],
    ) -> None:
        """Wait until all are fresh; `seen` is called for each, `trouble` words what failed."""
        begin, pending = time.monotonic(), list(sources)
        for source in pending:
            self._seen.pop(source.name, None)
        while pending:
            for source in [source for source in pending if self.is_fresh(source)]:
                pending.remove(source)
                seen(source, time.monotonic() - begin)
            if pending and time.monotonic() - begin > seconds:
                raise Failed(trouble(pending))
            time.sleep(PAUSE_SECONDS)


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino ^ path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
