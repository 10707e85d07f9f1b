"""What happens to a mirror next, and what stands in the way."""

from datetime import datetime

from mirroring.catalog import KEEP_REMOVED, in_words
from mirroring.models import Mirror, SchedulingSettings
from mirroring.rules.policies import Rest, remedy, rest_of
from mirroring.rules.states import Status
from mirroring.scheduler.explain import explain
from mirroring.tracker.connection import connect
from mirroring.tracker.job_tracker import TrackerDown

NO_REASON = "no reason was given"

_GIVEN_UP = {
    Rest.HARD_FAILED: "It failed too often to be tried again by itself",
    Rest.ARCHIVED: "It is archived, for its upstream is gone",
    Rest.PAUSED: "It is paused until its credential changes",
}


def explanation(mirror: Mirror, *, now: datetime) -> dict[str, object]:
    """Return why the mirror is not running, who holds what it waits for, and when it starts or what starts it."""
    why = explain(mirror, tracker=connect(), now=now)
    return {
        "explanation": outlook(mirror, now=now),
        "verdict": why.verdict,
        "reason": why.reason,
        "starts_at": why.starts_at,
        "act": why.act,
        "holders": list(why.holders),
    }


def outlook(mirror: Mirror, *, now: datetime) -> str:
    """Return one sentence: what happens to the mirror next, or why nothing does and what to type."""
    state, path = mirror.state, mirror.path
    if mirror.deleted_at is not None:
        until = in_words(mirror.deleted_at + KEEP_REMOVED, now=now)
        return f"It is purged {until}; until then `manage.py mirror restore {path}` brings it back"
    if mirror.paused_at is not None:
        reason = f"reason: {mirror.pause_reason}" if mirror.pause_reason else NO_REASON
        return f"It is not imported until `manage.py mirror resume {path}` ({reason})"
    if state.hard_failed:
        word = _GIVEN_UP[rest_of(state.last_outcome)]
        return (
            f"{word}: {remedy(state.last_outcome, path=path)} `manage.py mirror retry {path}` tries at once"
        )
    if state.cancel_requested:
        return "Its import is being stopped; it is imported again when it is next due"
    if state.status == Status.STARTED:
        return f"Its import runs, since {in_words(state.last_update_started_at, now=now)}"
    return obstacle() or _when(mirror, now=now)


def _when(mirror: Mirror, *, now: datetime) -> str:
    state = mirror.state
    if state.status == Status.SCHEDULED:
        return "Its import has a slot and starts as soon as a worker takes it"
    if state.claim_expires_at is not None:
        return "It is chosen to be imported and waits for its slot"
    if state.check_due_at is not None:
        return (
            f"Its upstream is asked {in_words(max(state.check_due_at, now), now=now)} whether anything is new"
        )
    if state.next_execution_at <= now:
        return "Its import starts as soon as a slot is free"
    return f"Its next import starts {in_words(state.next_execution_at, now=now)}"


def obstacle() -> str | None:
    """Return what keeps every import from starting, and what to do about it; None if nothing does."""
    configured = SchedulingSettings.current()
    for name in ("silent_mode", "paused_all"):
        if getattr(configured, name):
            return f"No import starts while {name} is set: `manage.py settings set {name} false`"
    if configured.mirror_max_capacity == 0:
        return "No import starts with a capacity of 0: `manage.py settings set mirror_max_capacity NUMBER`"
    try:
        counts = connect().counts(max_capacity=configured.mirror_max_capacity)
    except TrackerDown:
        return "No import starts without Redis, and it cannot be reached: `make up` starts all that is needed"
    if counts.slots == 0:
        return "No import starts while no worker runs: `make up` starts all that is needed"
    return None
