"""Mirrors whose upstream answers from memory, imported as if by a worker, and checked by real runs of the checker."""

from dataclasses import dataclass, field
from datetime import timedelta

from mirroring.flags.changes import set_flag
from mirroring.flags.registry import FlagName
from mirroring.models import ImportState
from mirroring.scheduler import checking
from mirroring.scheduler.ending import next_due
from mirroring.tracker.connection import RunClock
from mirroring.upstream.client.loop import Loop
from mirroring.upstream.client.probe import Way, sealed
from mirroring.upstream.client.prober import Prober
from tests.making import build_mirror

LONG_AGO = timedelta(hours=1)


@dataclass
class Fleet:
    """What tests do with checks."""

    tracker: object
    upstream: object
    loop: Loop = field(default_factory=Loop)
    woken: list = field(default_factory=list)
    runs: int = 0

    def __post_init__(self):
        self.prober = Prober(self.loop)

    def flag(self, on=True):
        set_flag(FlagName.CHECK_BEFORE_IMPORT, on=on, by="test", force=True)

    def mirror(self, name="a", *, way=Way.V2_SHA1, url="", due=-LONG_AGO, **mirror):
        """Make a mirror that was imported when its upstream was as it is now, and whose check is due."""
        made = build_mirror(url=url or self.upstream.url_of(name), mirror=mirror)
        now = self.tracker.now()
        ImportState.objects.filter(pk=made.pk).update(
            status="finished",
            import_due_at=None,
            check_due_at=now + due,
            next_execution_at=now + due,
            last_update_at=now,
            last_successful_update_at=now - timedelta(days=1),
            listed_way=way,
            upstream_digest=self.digest_now(made, way),
        )
        return made

    def question(self, mirror=None, way=Way.V2_SHA1):
        """Return what is asked of a mirror; without one, of `a`."""
        from mirroring.models import Host
        from mirroring.upstream.policy import urls
        from mirroring.upstream.transfer.listing import Known

        mirror = mirror or self.mirror()
        host = Host.objects.get(pk=mirror.host_id)
        return Known(urls.parse(mirror.url), host, tuple(mirror.refspecs), way).ask(for_whom=[])

    def digest_now(self, mirror, way=Way.V2_SHA1):
        self.prober.put([self.question(mirror, way)])
        [answer] = self.prober.answers(wait=20)
        return sealed(answer.heard.digest, inputs=mirror.inputs) if answer.heard else b"x" * 32

    def run(self, **changes):
        """Run the checker once, to its end."""
        self.runs += 1
        place = checking.Place(
            tracker=self.tracker,
            clock=changes.pop("clock", RunClock(self.tracker.now())),
            prober=changes.pop("prober", self.prober),
            owner=f"checker-{self.runs}",
            hooks=checking.Hooks(next_due, wake=lambda: self.woken.append(True), **changes),
        )
        return checking.check_mirrors(place)

    def close(self):
        self.loop.close()
