"""One mirror through imports and checks, of a real git server."""

from mirroring.models import ImportState
from mirroring.scheduler import importing
from mirroring.scheduler.heartbeat import InFlight
from mirroring.tracker.connection import RunClock
from tests.making import LEASE, build_mirror
from tests.scheduler.desk import to_the_door


class RoundTrip:
    def __init__(self, fleet, server, upstream):
        self.fleet, self.server, self.upstream = fleet, server, upstream
        self.url = server.add(upstream.name, upstream.path)

    def imported(self, url="", **mirror):
        made = build_mirror(url=url or self.url, mirror=mirror)
        self.import_again(made)
        return made

    def import_again(self, mirror):
        return self.run(self.scheduled(mirror))

    def scheduled(self, mirror):
        """Bring a mirror as far as the queue of imports, and return its claim."""
        now = self.fleet.tracker.now()
        ImportState.objects.filter(pk=mirror.pk, import_due_at__isnull=False).update(import_due_at=now)
        [claim] = ImportState.objects.filter(pk=mirror.pk).claim_due(1, now=now, until=now + LEASE)
        assert to_the_door(claim, self.fleet.tracker) == "scheduled"
        return claim

    def run(self, claim, *, handed=None, clock=None):
        """Do what the task update_mirror does, or with what was received before, on another clock."""
        tracker = self.fleet.tracker
        now, received = tracker.receive(claim.token)
        clock, handed = clock or RunClock(now), handed or received
        place = importing.Place(tracker, clock, in_flight=InFlight(), worker="w", wake=lambda: None)
        return importing.update_mirror(claim, place=place, handed=handed)

    def checked(self, mirror):
        """Have the check due now, and run the checker."""
        ImportState.objects.filter(pk=mirror.pk).update(check_due_at=self.fleet.tracker.now())
        return self.fleet.run()
