"""What people do with a guarded rollout: start, pause, resume, abort, roll back. Beat drives it, see driving.py."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction

from mirroring.flags import readings, registry
from mirroring.flags.definition import ActorKind
from mirroring.models import Rollout, RolloutState
from mirroring.models.database import is_writable
from mirroring.models.rollout import ACTIVE, Overtaken
from mirroring.rollout import announcing, environments, stepping, windows
from mirroring.rollout.guards import Action, Budget, Budgets, Guard
from mirroring.rollout.measures import guard_of
from mirroring.rollout.rolling_back import Cause, RolloutRefused, roll_back, utc_now
from mirroring.rollout.steps import Step, steps
from mirroring.rollout.windows import Baseline
from mirroring.tracker.job_tracker import JobTracker

__all__ = ["RolloutRefused", "Wanted", "abort", "latest", "pause", "resume", "start"]

INTERVAL = timedelta(minutes=15)


@dataclass(frozen=True)
class Wanted:
    """What a rollout is asked to be. Without steps: the usual ones."""

    steps: Sequence[str] = ()
    interval: timedelta = INTERVAL
    shadow: bool = False
    budgets: Budgets = field(default_factory=Budgets)
    overrides: frozenset[str] = frozenset()


def guards_of(flag: str) -> list[Guard]:
    """Return the guards of a flag: the effects that its definition promises."""
    return [guard_of(effect) for effect in registry.definition(flag).effects]


def start(flag: str, wanted: Wanted, *, by: str, now: datetime) -> Rollout:
    """Begin with the first step. The gates of turning on are asked; one rollout at a time for each flag."""
    definition = registry.definition(flag)
    if not is_writable():
        raise RolloutRefused("The database takes no writes: a rollout could not be driven")
    by_actor = definition.actor is not ActorKind.NONE
    planned = steps(wanted.steps, by_actor=by_actor, environments=environments.known().names())
    if readings.read(flag, now=now).state.for_all and not wanted.shadow:
        raise RolloutRefused(
            f"{flag} is on for everybody already: turn it off first, and let a baseline grow"
        )
    baseline = windows.baseline(guards_of(flag), flag=flag, now=now)
    if not any(baseline.values()):
        raise RolloutRefused(
            f"There are no samples from before, so {flag} could not be judged: wait half a minute"
        )
    rollout = _created(flag, wanted, planned, baseline=baseline, by=by, now=now)
    try:
        stepping.take(rollout, 0, now=now, overrides=wanted.overrides)
    except Overtaken:
        raise RolloutRefused(
            f"The rollout of {flag} was ended as it began: see `feature rollout status {flag}`"
        ) from None
    except Exception as error:
        _not_begun(rollout, error, now=now)
        raise
    _announce(rollout, by=by, now=now)
    return rollout


def _not_begun(rollout: Rollout, error: Exception, *, now: datetime) -> None:
    """Forget a rollout that was refused. Where it may have begun elsewhere it is kept, to be turned off there."""
    with suppress(Overtaken):
        if rollout.elsewhere:
            rollout.move(state=RolloutState.ABORTED, ended_at=now, why=f"not begun: {error}")
        else:
            rollout.delete()


def _created(
    flag: str, wanted: Wanted, planned: Sequence[Step], *, baseline: Baseline, by: str, now: datetime
) -> Rollout:
    times = {"started_at": now, "step_started_at": now, "driven_at": now}
    try:
        with transaction.atomic():
            return Rollout.objects.create(
                flag=flag,
                shadow=wanted.shadow,
                steps=[[step.kind, step.value] for step in planned],
                interval_seconds=int(wanted.interval.total_seconds()),
                budgets=asdict(wanted.budgets),
                baseline=baseline,
                started_by=by,
                **times,
            )
    except IntegrityError:
        raise RolloutRefused(
            f"A rollout of {flag} is under way: see `feature rollout status {flag}`"
        ) from None


def _announce(rollout: Rollout, *, by: str, now: datetime) -> None:
    """Say when it is expected to be through, before anybody is surprised by it."""
    expected = now + len(rollout.steps) * rollout.interval
    steps_of = ", ".join(str(stepping.step_of(rollout, number)) for number in range(len(rollout.steps)))
    text = f"begun by {by}: {steps_of}; through at {expected:%Y-%m-%dT%H:%MZ} at the earliest"
    when = f"{expected:%Y-%m-%dT%H:%MZ}"
    announcing.say(rollout, announcing.BEGUN, text, at=now, expected=when, by=f"rollout {rollout.pk}")


def budgets_of(kept: Mapping[str, Any]) -> Budgets:
    """Return budgets as a row keeps them."""
    given = {name: Budget(each["allowed"], Action(each["action"])) for name, each in kept.items()}
    return Budgets(**given)


def pause(flag: str, *, by: str, why: str = "") -> Rollout:
    """Take no further step until it is resumed. The guards stay armed, the lease is renewed."""
    return _move(flag, {RolloutState.RUNNING, RolloutState.HELD}, RolloutState.PAUSED, by=by, why=why)


def resume(flag: str, *, by: str, why: str = "") -> Rollout:
    """Go on after a pause or a hold."""
    return _move(flag, {RolloutState.PAUSED, RolloutState.HELD}, RolloutState.RUNNING, by=by, why=why)


def _move(flag: str, origins: set[RolloutState], to: RolloutState, *, by: str, why: str) -> Rollout:
    registry.named(flag)
    rows = Rollout.objects.filter(flag=flag, state__in=origins)
    rollout = rows.first()
    if rollout is None or not rows.filter(pk=rollout.pk).update(state=to, why=why, tally={}):
        raise RolloutRefused(f"No rollout of {flag} is {' or '.join(sorted(origins))}")
    rollout.refresh_from_db()
    text = f"{to.label.lower()} by {by}{': ' if why else ''}{why}"
    announcing.say(rollout, str(to.value), text, at=utc_now(), by=by)
    return rollout


def abort(flag: str, *, by: str, why: str, tracker: JobTracker) -> Rollout:
    """Turn the flag off and end its rollout; every gate is bypassed. Without a rollout one is noted, and over."""
    registry.named(flag)
    rollout = Rollout.objects.filter(flag=flag, state__in=ACTIVE).first()
    cause = Cause(why=why or f"aborted by {by}", by=by, ends_as=RolloutState.ABORTED)
    if rollout is not None:
        with suppress(Overtaken):  # It has just ended, perhaps in on for good.
            return roll_back(rollout, cause, tracker=tracker)
    return roll_back(_noted(flag, by=by), cause, tracker=tracker)


def _noted(flag: str, *, by: str) -> Rollout:
    """Make the row in which a rollback by hand is measured and told. It is never active, so nothing drives it."""
    now = utc_now()
    times = {"started_at": now, "step_started_at": now, "driven_at": now}
    if not is_writable():
        raise RolloutRefused(f"{flag} was not turned off: the database takes no writes")
    return Rollout.objects.create(
        flag=flag, state=RolloutState.ABORTED, steps=[], interval_seconds=1, started_by=by, **times
    )


def latest(flag: str) -> Rollout | None:
    """Return the rollout that is under way, or else the last one."""
    registry.named(flag)
    rows = Rollout.objects.filter(flag=flag)
    return rows.filter(state__in=ACTIVE).first() or rows.first()
