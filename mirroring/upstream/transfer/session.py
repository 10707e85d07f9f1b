"""The git commands of one import: what was ordered, and how git is told of it, bounded and watched."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from mirroring.rules.outcomes import Outcome
from mirroring.upstream.access import contact
from mirroring.upstream.access.contact import Contact, RouteTo
from mirroring.upstream.access.credentials import Secret
from mirroring.upstream.disk.repository import Repository
from mirroring.upstream.errors import GitError
from mirroring.upstream.git.bounds import NO_BOUNDS, Bounds, Pace, Watch, size_of
from mirroring.upstream.git.environment import environment, within
from mirroring.upstream.git.process import StopHandle
from mirroring.upstream.transfer.asking import Git
from mirroring.upstream.transfer.handed import Handed

PATIENCE = 5
"""How many times longer a server may be silent before it sends objects than before it lists refs."""

# The staging repository borrows the mirror's objects; git would look at every ref of the mirror for what is here.
_ALONE = ("core.alternateRefsPrefixes", "refs/none/")


@dataclass(frozen=True)
class Order:
    """What to import, under which epoch, within what time."""

    repository: Repository
    url: str
    refspecs: Sequence[str]
    epoch: int
    timeout: timedelta
    route_to: RouteTo = contact.direct
    bounds: Bounds = NO_BOUNDS
    secret: Secret | None = None
    afresh: bool = False
    """Trust none of the objects that are here: the last import found some of them damaged."""

    keeps_branches: bool = False
    """Refuse an upstream that rewrote a branch: the mirror stays as it is."""

    probes: bool = False
    """List in process where that works."""

    way: str = ""
    """How the upstream was listed last, where that is known."""

    handed: Handed | None = None
    """What it answered when it was asked just before, by the check that found a change."""


class Remaining:
    """What is left of the time for the whole import, for the next of its commands."""

    def __init__(self, timeout: timedelta) -> None:
        self._end = time.monotonic() + timeout.total_seconds()

    def __call__(self) -> timedelta:
        return timedelta(seconds=max(0.01, self._end - time.monotonic()))

    def check(self) -> None:
        """Raise GitError if nothing is left: our own work, too, is bound."""
        if time.monotonic() > self._end:
            raise GitError(Outcome.HUNG, "timed out: all was fetched, too late to be made visible")


@dataclass(frozen=True)
class Session:
    """The git commands of one import, all of them with one contact and within one time."""

    order: Order
    contact: Contact
    staging: Path
    left: Remaining
    stop: StopHandle

    @property
    def git(self) -> Git:
        """Return git as it runs in the staging repository."""
        at, alone = (within(self.staging),), (_ALONE,)
        return Git(self.contact, at, self.staging, left=self.left, stop=self.stop, configured=alone)

    def list(self, *, trace: Path | None = None) -> str:
        """Return what the upstream lists."""
        return self.git.list(idle=self.order.bounds.idle, trace=trace)

    def watch(self) -> Watch:
        """Return what bounds a command that brings objects. Raise GitError if there are too many already."""
        held = size_of(self.order.repository.objects)
        return Watch(self.staging / "objects", bounds=self.order.bounds, held=held)

    def fetch(self, missing: Collection[str], *, first: bool) -> None:
        """Bring objects, with all that they lead to, as git checks.

        A server may think for long, without a byte, before it sends a whole history: a first clone is bound by the
        time for the whole import only.
        """
        watch = self.watch()
        pace = None if first else Pace(bytes_a_second=1, idle=self.order.bounds.idle * PATIENCE)
        wants = self.staging / "wants"
        wants.write_text("".join(f"{oid}\n" for oid in sorted(missing)))
        options = ["--no-tags", "--no-auto-maintenance", "--no-write-fetch-head", "--quiet", "--stdin"]
        try:
            self.git.ask("fetch", *options, "--", "m", pace=pace, watch=watch, given=wants)
        except GitError as error:
            raise watch.explained(error) from None

    def pack(self) -> None:
        """Have git write the refs as one file, with what each tag leads to."""
        self.git.run(["pack-refs", "--all"], environment=environment())
