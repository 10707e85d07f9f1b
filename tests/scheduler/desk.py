"""The steps of the scheduler, run by hand: with a real tracker and real rows, and a queue that only the test reads."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from mirroring.flags.changes import set_flag
from mirroring.flags.registry import FlagName
from mirroring.models import ImportState
from mirroring.scheduler import dispatch
from mirroring.scheduler.scheduling import project_import_schedule

# The tracker's two flags, as far as they are still there; one that is gone is on.
FLAGS: dict[int, FlagName] = {}
# This goes with project_import_schedule_worker_job_tracker.
FLAGS[0] = FlagName.PROJECT_IMPORT_SCHEDULE_WORKER_JOB_TRACKER
# This goes with update_all_mirrors_job_tracker.
FLAGS[1] = FlagName.UPDATE_ALL_MIRRORS_JOB_TRACKER

# The four positions of the two flags; the last one is refused unless it is forced.
LEGACY, OBSERVED, TRACKED, FORCED = (False, False), (True, False), (True, True), (False, True)
NAMES = {LEGACY: "legacy", OBSERVED: "observed", TRACKED: "tracked", FORCED: "forced"}


def is_there(position) -> bool:
    """Say whether the flags that are still there can be brought into a position."""
    return all(on or number in FLAGS for number, on in enumerate(position))


WAITING = [position for position in (LEGACY, FORCED, OBSERVED) if is_there(position)]
POSITIONS = [*WAITING, TRACKED]


def turn(position):
    """Bring the flags into a position; skip the test if there is none such any more."""
    if not is_there(position):
        pytest.skip(f"the position {NAMES[position]} is gone with its flag")
    for number, name in FLAGS.items():
        set_flag(name, on=position[number], by="test", force=True)


@dataclass
class Desk:
    """Runs of update_all_mirrors with a queue that only this test reads."""

    tracker: object
    sent: list = field(default_factory=list)
    batches: list = field(default_factory=list)
    polls: list = field(default_factory=list)
    reruns: int = 0
    lengths: Callable[[], int] = lambda: 0
    patience: timedelta = timedelta(milliseconds=1)

    def run(self, *, due=None, owner="", tracker=None, enqueue=None, sleep=time.sleep):
        tracker = tracker or self.tracker
        return dispatch.update_all_mirrors(
            tracker=tracker,
            broker=dispatch.Broker(enqueue=enqueue or self._enqueue, waiting=self._waiting),
            owner=owner or f"run-{len(self.batches)}-{id(self)}",
            due=due or ImportState.objects.claim_due,
            rerun=self._rerun,
            sleep=sleep,
            patience=self.patience,
        )

    def _enqueue(self, claims):
        self.batches.append(len(claims))
        self.sent += claims

    def _waiting(self):
        self.polls.append(self.lengths())
        return self.polls[-1]

    def _rerun(self):
        self.reruns += 1


def to_the_door(claim, tracker, enqueue=lambda claim: None):
    """Take one job through the door, as project_import_schedule does."""
    return project_import_schedule(claim, now=tracker.now(), tracker=tracker, enqueue=enqueue)


def counts(tracker, capacity=1000):
    """Return how many leases are held: (processing, importing)."""
    held = tracker.counts(max_capacity=capacity)
    return held.processing, held.importing
