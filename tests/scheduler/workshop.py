"""Imports run by hand: the steps that a worker would run, on a real server, in this process."""

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from django.db import connection

from mirroring.models import ImportAttempt, ImportState
from mirroring.scheduler import importing
from mirroring.scheduler.heartbeat import Heart, InFlight
from mirroring.tracker.connection import RunClock
from tests.making import LEASE, build_mirror, wait_until
from tests.scheduler.desk import to_the_door

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass
class Works:
    """One worker process, its heart, and an upstream."""

    tracker: object
    upstream: object
    server: object
    url: str
    in_flight: InFlight = field(default_factory=InFlight)
    woken: list = field(default_factory=list)

    def mirror(self, **state):
        return build_mirror(url=self.url, **state)

    def scheduled(self, mirror):
        """Bring a mirror as far as the queue of imports, and return its claim."""
        now = self.tracker.now()
        [claim] = ImportState.objects.filter(pk=mirror.pk).claim_due(1, now=now, until=now + LEASE)
        assert to_the_door(claim, self.tracker) == "scheduled"
        return claim

    def run(self, claim):
        """Do what the task update_mirror does."""
        place = importing.Place(
            tracker=self.tracker,
            clock=RunClock(self.tracker.now()),
            in_flight=self.in_flight,
            worker="worker",
            wake=lambda: self.woken.append(True),
        )
        return importing.update_mirror(claim, place=place)

    def heart(self, **values):
        return Heart(name="worker", slots=100, tracker=self.tracker, in_flight=self.in_flight, **values)

    def running(self, claim, *, behaviour="hang"):
        """Start an import in a thread, against an upstream that keeps it busy, and return once it runs."""
        self.server.behave(self.upstream.name, behaviour)
        return Running(self, claim)

    def asked(self):
        """Return how many requests the upstream has seen."""
        return Path(self.server.log._file.name).read_text().count('"event": "start"')


class Running:
    """An import in a thread of its own, as in a worker."""

    def __init__(self, works, claim):
        self.result = []
        self.claim = claim
        self._thread = threading.Thread(target=self._run, args=(works,))
        self._thread.start()
        wait_until(lambda: works.in_flight.claims(), seconds=15, what="the import runs")
        wait_until(lambda: works.asked(), seconds=15, what="the upstream is asked")

    def _run(self, works):
        try:
            self.result.append(works.run(self.claim))
        finally:
            connection.close()

    def join(self, seconds=20):
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the import was not stopped"
        return self.result[0] if self.result else None


def attempt_of(claim):
    return ImportAttempt.objects.get(mirror_id=claim.mirror_id, epoch=claim.epoch)


def expire(mirror):
    """Let the claim of a mirror run out, as if its lease had passed."""
    ImportState.objects.filter(pk=mirror.pk).update(claim_expires_at=LONG_AGO)
