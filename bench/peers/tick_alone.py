"""Our own workers with one thing taken away: freed slots wake nobody, so that only the tick fills the capacity.

`python -m bench.peers.tick_alone worker ...` in place of `python -m celery -A config worker ...`.
"""

import sys

from celery.bin.celery import main

from mirroring.tracker.job_tracker import JobTracker

_refill = JobTracker.refill


def _by_tick(self: JobTracker, *, by_event: bool) -> None:
    """Note that freed slots wake nobody, whatever the flags say."""
    _refill(self, by_event=False)


if __name__ == "__main__":
    JobTracker.refill = _by_tick  # type: ignore[method-assign]
    sys.argv[1:1] = ["-A", "config"]
    main()
