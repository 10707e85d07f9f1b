"""The heartbeat of one worker process: says what it can take, renews what it holds, stops what it has lost."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from django.db import Error as DatabaseError

from mirroring.flags.readings import read_all
from mirroring.models import Claim, ImportState, SchedulingSettings
from mirroring.rules.outcomes import Outcome
from mirroring.tracker.job_tracker import JobTracker, TrackerDown
from mirroring.upstream.git.bounds import shortage
from mirroring.upstream.git.leash import LEASH
from mirroring.upstream.git.process import StopHandle, Stopped

logger = logging.getLogger(__name__)

INTERVAL = timedelta(seconds=2)
"""A pause, a removal or a lost lease stops the import within two of these."""

MARGIN = 0.25
"""Share of the lease that is left for the killing when nothing could be renewed."""

LOST = Stopped(Outcome.LOST, "the lease of this import was lost: it was stopped")
CANCELED = Stopped(Outcome.CANCELED, "the import was canceled on request")
HELD_BACK = Stopped(Outcome.CANCELED, "the mirror was paused or removed while this import ran")
SHUT_DOWN = Stopped(Outcome.INTERRUPTED, "the worker was shut down while this import ran")
SILENCED = Stopped(Outcome.INTERRUPTED, "silent mode was switched on while this import ran")


class InFlight:
    """The imports that run in this process, each with the handle that stops it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._imports: dict[Claim, StopHandle] = {}

    @contextmanager
    def entry(self, claim: Claim) -> Iterator[StopHandle]:
        """Keep an import listed while it runs."""
        stop = StopHandle()
        with self._lock:
            self._imports[claim] = stop
        try:
            yield stop
        finally:
            with self._lock:
                del self._imports[claim]

    def claims(self) -> list[Claim]:
        """Return the claims of the running imports."""
        with self._lock:
            return list(self._imports)

    def stop_all(self, reason: Stopped) -> None:
        """Stop every import that runs here."""
        self.stop(set(self.claims()), reason)

    def stop(self, claims: set[Claim], reason: Stopped) -> None:
        """Stop those of the given imports that run here."""
        with self._lock:
            handles = [(claim, self._imports[claim]) for claim in claims if claim in self._imports]
        for claim, handle in handles:
            logger.warning(
                "import stopped",
                extra={"mirror": claim.mirror_id, "epoch": claim.epoch, "why": reason.reason},
            )
            handle.stop(reason)


@dataclass
class Heart:
    """Beats for one process. `slots`: how many imports it can run at once, 0 for the other workers."""

    name: str
    slots: int
    tracker: JobTracker
    in_flight: InFlight
    lease: timedelta = timedelta(seconds=60)
    trouble: str = ""
    renewed: float = field(default_factory=time.monotonic)

    def beat(self) -> None:
        """Announce, renew, and stop what is no longer ours. What cannot be renewed in time is stopped too."""
        began = time.monotonic()
        claims = self.in_flight.claims()
        try:
            self._renew(claims)
        except (TrackerDown, DatabaseError) as error:
            logger.warning("heartbeat failed", extra={"worker": self.name, "error": str(error)})
            if time.monotonic() > self.renewed + self.grace.total_seconds():
                self.in_flight.stop(set(claims), LOST)
        else:
            self.renewed = began
            LEASH.extend(since=began, life=self.grace)

    @property
    def grace(self) -> timedelta:
        """Return how long after a renewal git may run on without another."""
        return self.lease * (1 - MARGIN)

    def _renew(self, claims: list[Claim]) -> None:
        configured = SchedulingSettings.current()
        self.lease = configured.lease
        trouble = shortage(configured.disk_floor_mb) if self.slots else ""
        if bool(trouble) != bool(self.trouble):
            logger.warning("the room for imports changed", extra={"worker": self.name, "trouble": trouble})
        self.trouble = trouble
        # No room, no slots: so nothing is admitted that could not be kept.
        slots = 0 if trouble else self.slots
        now = self.tracker.announce(
            self.name, slots=slots, flags=_flags_seen(), life=configured.lease, trouble=trouble
        )
        if not claims:
            return
        if configured.silent_mode:
            self.in_flight.stop(set(claims), SILENCED)
            return
        tokens = self.tracker.renew([claim.token for claim in claims], lease=configured.lease)
        rows = ImportState.objects.renew(claims, now=now, until=now + configured.lease)
        if tokens is None:
            raise TrackerDown("the pools are being rebuilt")
        self.in_flight.stop({claim for claim in rows if claim.token not in tokens}, LOST)
        self._stop_unheld(set(claims) - rows)

    def _stop_unheld(self, claims: set[Claim]) -> None:
        ids = [claim.mirror_id for claim in claims]
        for row in ImportState.objects.filter(mirror_id__in=ids) if ids else ():
            reason = LOST
            if row.claim in claims and not row.active:
                reason = HELD_BACK
            elif row.claim in claims and row.cancel_requested:
                reason = CANCELED
            self.in_flight.stop({claim for claim in claims if claim.mirror_id == row.mirror_id}, reason)


def _flags_seen() -> dict[str, bool]:
    return {str(name): on for name, on in read_all().items()}
