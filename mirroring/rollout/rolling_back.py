"""Rolling back: off first, asking nobody; then the sweep, the reading back from every live process, the telling."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import DatabaseError

from mirroring.flags import clock, registry
from mirroring.flags.changes import Change, Origin, change_flag
from mirroring.flags.state import State
from mirroring.models import Rollout, RolloutState, SchedulingSettings
from mirroring.models.database import is_writable
from mirroring.models.rollout import Overtaken
from mirroring.rollout import announcing, environments, samples
from mirroring.tracker.job_tracker import JobTracker, TrackerDown

logger = logging.getLogger(__name__)

PATIENCE = timedelta(seconds=5)
"""Workers say every two seconds which flags they see; within this all of them have."""

POLL_SECONDS = 0.1

HOOKS: dict[str, Callable[[JobTracker], object]] = {
    "forget_processing": lambda tracker: (tracker.forget_processing(), tracker.forget_refill()),
    "forget_refill": lambda tracker: tracker.forget_refill(),
}
"""What a definition may name as its clean-up hook: it takes away what a flag that is off leaves in Redis."""


class RolloutRefused(ValueError):
    """It was not done; the message says why and how to go on."""


@dataclass(frozen=True)
class Cause:
    """Why and by whom something is rolled back. `breach_at`: the sample that broke a bound, if one did."""

    why: str
    by: str
    breach_at: datetime | None = None
    ends_as: RolloutState = RolloutState.ROLLED_BACK


def utc_now() -> datetime:
    """Return the time of all leases; this machine's only where Redis has never told it."""
    return clock.present()


def roll_back(rollout: Rollout, cause: Cause, *, tracker: JobTracker, wait: timedelta = PATIENCE) -> Rollout:
    """Turn the flag off, at once, and end the rollout. No gate is asked, and nothing after it can undo it.

    A shadow rollout only says that it would have. Raise Overtaken where somebody else has ended it first.
    """
    off_at = _end(rollout, cause)
    mark = _redis_time(tracker)  # Only now: Redis may be what is broken, and is not waited for before.
    verb = "would have been rolled back" if rollout.shadow else str(cause.ends_as.label).lower()
    announcing.say(rollout, "rolled_back", f"{verb}: {cause.why}", at=off_at, by=cause.by)
    if not rollout.shadow:
        _sweep(rollout, tracker)
        confirm(rollout, tracker=tracker, mark=mark, wait=wait)
        turn_off_elsewhere(rollout, rollout.elsewhere, cause)
    return rollout


def _end(rollout: Rollout, cause: Cause) -> datetime:
    """Write that the flag is off and that the rollout has ended, both or neither, and return when."""
    while True:
        try:
            return _end_as_read(rollout, cause)
        except Overtaken:
            rollout.refresh_from_db()
            if not rollout.active:
                raise


def _end_as_read(rollout: Rollout, cause: Cause) -> datetime:
    at = clock.at_once()
    fields = {"state": cause.ends_as, "why": cause.why, "breach_at": cause.breach_at, "ended_at": at}
    fields |= {} if rollout.shadow else {"off_at": at}

    def end(_before: State | None = None) -> None:
        rollout.move(**fields)

    if rollout.shadow:
        end()
    else:
        _turn_off(rollout.flag, cause, along=end)
    return at


def _turn_off(flag: str, cause: Cause, *, along: Callable[[State], None]) -> None:
    """Write the row; raise RolloutRefused where the database takes no writes."""
    refusal = (
        f"{flag} was not turned off: the database takes no writes. If a guarded rollout of it is under way, nothing "
        "can renew its lease, and every process reads it as off once that has ended: see `feature rollout`"
    )
    if not is_writable():
        raise RolloutRefused(refusal)
    try:
        change_flag(
            flag,
            Change(on=False),
            by=cause.by,
            origin=Origin.ROLLOUT,
            why=cause.why,
            snapshot=samples.snapshot(),
            along=along,
        )
    except DatabaseError as error:
        raise RolloutRefused(f"{refusal} ({error})") from error


def _sweep(rollout: Rollout, tracker: JobTracker) -> None:
    """Run the flag's clean-up hook. Without Redis what it would take away runs out by its leases."""
    hook = registry.definition(rollout.flag).cleanup_hook
    if not hook:
        return
    try:
        HOOKS[hook](tracker)
    except TrackerDown as error:
        text = f"the clean-up {hook} could not reach Redis; what is left there runs out by itself"
        announcing.say(rollout, "not_swept", text, at=utc_now(), error=str(error))
    else:
        announcing.say(rollout, "swept", f"the clean-up {hook} has run", at=utc_now())


def seeing(flag: str, *, tracker: JobTracker, mark: datetime | None) -> list[str]:
    """Return the live processes that have not said, since `mark`, that they see the flag off."""
    life = SchedulingSettings.current().lease
    workers = [worker for worker in tracker.workers() if flag in worker.flags]
    return [
        worker.name
        for worker in workers
        if worker.flags[flag] or (mark is not None and worker.expires_at - life < mark)
    ]


def confirm(rollout: Rollout, *, tracker: JobTracker, mark: datetime | None, wait: timedelta) -> bool:
    """Wait until every live process has said that it sees the flag off; note when, or who has not said so."""
    deadline = time.monotonic() + wait.total_seconds()
    while True:
        try:
            lagging = seeing(rollout.flag, tracker=tracker, mark=mark)
        except TrackerDown:
            lagging = ["Redis is away, so nobody can say what he sees; without it nothing is dispatched"]
        if not lagging or time.monotonic() >= deadline:
            break
        time.sleep(POLL_SECONDS)
    rollout.lagging, rollout.confirmed_at = lagging, None if lagging else utc_now()
    rollout.save(update_fields=["lagging", "confirmed_at"])
    if lagging:
        announcing.say(rollout, "lagging", f"not yet seen off by: {', '.join(lagging)}", at=utc_now())
    else:
        seconds = rollout.rollback_seconds or 0.0
        text = f"every live process sees it off, {seconds:.1f} s after the cause"
        announcing.say(rollout, "confirmed", text, at=utc_now(), seconds=seconds)
    return not lagging


def _redis_time(tracker: JobTracker) -> datetime | None:
    try:
        return tracker.now()
    except TrackerDown:
        return None


def turn_off_elsewhere(rollout: Rollout, names: Sequence[str], cause: Cause) -> None:
    """Turn it off where this rollout may have turned it on. What cannot be reached is announced, and asked again."""
    mark, reached = environments.mark(rollout), []
    for name in names:
        try:
            environments.known().turn_off(name, rollout.flag, mark=mark, by=cause.by, why=cause.why)
            reached.append(name)
        except environments.EnvironmentRefused as error:
            text = f"still on in {name}: {error}"
            if not rollout.events.filter(text=text).exists():
                announcing.say(rollout, "lagging", text, at=utc_now())
    left = [name for name in rollout.elsewhere if name not in reached]
    Rollout.objects.filter(pk=rollout.pk).update(elsewhere=left)
    rollout.elsewhere = left
