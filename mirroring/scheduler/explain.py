"""Why a mirror is not running, what it waits for, and when it is expected to start."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.db.models import Avg, DurationField, ExpressionWrapper, F

from mirroring.models import ImportAttempt, ImportState, Mirror, SchedulingSettings
from mirroring.models.checks import CHECKS_OVERDUE
from mirroring.rules.policies import Rest, remedy, rest_of
from mirroring.rules.states import IN_FLIGHT, Status
from mirroring.scheduler.host_state import state_of
from mirroring.tracker.job_tracker import Counts, JobTracker, Pool, TrackerDown

USUAL_IMPORT = timedelta(seconds=5)
"""What an import is taken to last before any has ended."""

RECENT = 200

CHECK_TICK = timedelta(seconds=5)


class Verdict(StrEnum):
    """Where a mirror stands, in a word."""

    REMOVED = "removed"
    PAUSED = "paused"
    HARD_FAILED = "hard-failed"
    ARCHIVED = "archived"
    NEEDS_CREDENTIAL = "paused for its credential"
    HELD_BACK = "held back"
    RUNNING = "running"
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RECOVERING = "recovering"
    WAITING = "waiting"
    RESTING = "resting"
    CHECKED_NEXT = "checked next"


_GIVEN_UP = {
    Rest.HARD_FAILED: Verdict.HARD_FAILED,
    Rest.ARCHIVED: Verdict.ARCHIVED,
    Rest.PAUSED: Verdict.NEEDS_CREDENTIAL,
}


@dataclass(frozen=True)
class Explanation:
    """The answer. Either a start is named, or what a person has to do."""

    verdict: Verdict
    reason: str
    starts_at: datetime | None = None
    act: str = ""
    holders: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Scene:
    mirror: Mirror
    state: ImportState
    configured: SchedulingSettings
    counts: Counts | None
    now: datetime

    @property
    def tick(self) -> timedelta:
        return timedelta(seconds=self.configured.tick_seconds)

    @property
    def repair_tick(self) -> timedelta:
        return timedelta(seconds=self.configured.repair_tick_seconds)


def explain(mirror: Mirror, *, tracker: JobTracker, now: datetime) -> Explanation:
    """Return why the mirror is not running and what comes next. `now` serves where Redis cannot say the time."""
    configured = SchedulingSettings.current()
    try:
        counts: Counts | None = tracker.counts(max_capacity=configured.mirror_max_capacity)
    except TrackerDown:
        counts = None
    scene = _Scene(
        mirror=mirror,
        state=mirror.state,
        configured=configured,
        counts=counts,
        now=counts.at if counts else now,
    )
    found = _held_by_a_person(scene) or _claimed(scene) or _hindered(scene, tracker=tracker)
    return found or _checked_next(scene, tracker=tracker) or _waiting(scene, tracker=tracker)


def _held_by_a_person(scene: _Scene) -> Explanation | None:
    path = scene.mirror.path
    if scene.mirror.deleted_at:
        return Explanation(Verdict.REMOVED, "It was removed.", act=f"manage.py mirror restore {path}")
    if not scene.state.active:
        reason = f"It is paused: {scene.mirror.pause_reason or 'no reason was given'}."
        return Explanation(Verdict.PAUSED, reason, act=f"manage.py mirror resume {path}")
    if scene.state.hard_failed:
        return _given_up(scene)
    return None


def _given_up(scene: _Scene) -> Explanation:
    state, path = scene.state, scene.mirror.path
    verdict = _GIVEN_UP[rest_of(state.last_outcome)]
    reason = f"It failed {state.retry_count} times in a row, the last time with: {state.last_error}"
    cure = remedy(state.last_outcome, path=path)
    act = f"Mend the cause, then manage.py mirror retry {path}"
    return Explanation(verdict, reason, act=f"{cure} {act}" if cure else act)


def _claimed(scene: _Scene) -> Explanation | None:
    state, until = scene.state, scene.state.claim_expires_at
    if until is None:
        return None
    if until <= scene.now:
        reason = f"Its worker fell silent; repair takes over within {scene.configured.repair_tick_seconds} s."
        return Explanation(Verdict.RECOVERING, reason, starts_at=until + scene.repair_tick + scene.tick)
    if state.status == "started":
        attempt = ImportAttempt.objects.filter(mirror=scene.mirror, epoch=state.epoch).first()
        where = f" on {attempt.worker}" if attempt else ""
        reason = f"It has been running since {state.last_update_started_at:%H:%M:%S} UTC{where}."
        return Explanation(Verdict.RUNNING, reason, starts_at=state.last_update_started_at)
    if state.status in IN_FLIGHT:
        reason = "It holds an importing slot; a worker is about to take it."
        return Explanation(Verdict.SCHEDULED, reason, starts_at=min(until, scene.now + scene.tick))
    reason = "It was picked and stands in the queue before the door."
    return Explanation(Verdict.QUEUED, reason, starts_at=until + scene.repair_tick)


def _hindered(scene: _Scene, *, tracker: JobTracker) -> Explanation | None:
    """Name what keeps every mirror from starting, if this one is due."""
    if scene.configured.holds_all_back:
        mode = "silent_mode" if scene.configured.silent_mode else "paused_all"
        reason = f"No import may start: {mode} is on."
        return Explanation(Verdict.HELD_BACK, reason, act=f"manage.py settings set {mode} false")
    if scene.counts is None:
        return Explanation(
            Verdict.HELD_BACK, "Redis cannot be reached: nothing is admitted.", act="Start Redis."
        )
    if scene.configured.mirror_max_capacity == 0:
        act = "manage.py settings set mirror_max_capacity NUMBER"
        return Explanation(Verdict.HELD_BACK, "The capacity is set to 0.", act=act)
    if scene.counts.slots == 0:
        troubles = [worker.trouble for worker in tracker.workers() if worker.trouble]
        if troubles:
            reason = f"The workers take no imports: {troubles[0]}."
            act = "Make room, or: manage.py settings set disk_floor_mb NUMBER"
            return Explanation(Verdict.HELD_BACK, reason, act=act)
        reason = "No worker for imports is alive."
        return Explanation(
            Verdict.HELD_BACK, reason, act="Start an imports worker: `make up`, or see docker/compose.yml"
        )
    return None


def _checked_next(scene: _Scene, *, tracker: JobTracker) -> Explanation | None:
    """Say when the upstream is asked next, of a mirror that is imported only if there is something new."""
    due = scene.state.check_due_at
    if due is None:
        return None
    if due > scene.now:
        reason = f"Its upstream is asked at {due:%Y-%m-%d %H:%M:%S} UTC whether anything is new."
        return Explanation(Verdict.CHECKED_NEXT, reason, due + CHECK_TICK)
    if not any("checks" in worker.queues for worker in tracker.workers()):
        reason = "Its check is due and no worker for checks is alive: repair has it imported without one."
        return Explanation(Verdict.CHECKED_NEXT, reason, due + CHECKS_OVERDUE + scene.repair_tick)
    before = ImportState.objects.filter(check_due_at__lt=due).count()
    reason = f"Its check is due and {before} stand before it."
    return Explanation(Verdict.CHECKED_NEXT, reason, scene.now + CHECK_TICK)


def _waiting(scene: _Scene, *, tracker: JobTracker) -> Explanation:
    counts, due = scene.counts, scene.state.import_due_at
    assert counts is not None  # noqa: S101  (_hindered has answered otherwise)
    if due is None or due > scene.now:
        return _resting(scene)
    if counts.ready and (held_up := _held_up_by_host(scene, counts=counts, due=due)):
        return held_up
    before = ImportState.objects.filter(import_due_at__lt=due).count()
    rounds = (before + counts.importing) // max(1, counts.capacity)
    expected = scene.now + scene.tick + _usual_import() * rounds
    holders = tuple(lease.token for lease in tracker.leases(Pool.IMPORTING))
    if not counts.ready:
        return Explanation(
            Verdict.WAITING, "The slots are being counted anew after Redis lost them.", expected
        )
    reason = (
        f"It is due and {before} stand before it; {counts.importing} of {counts.capacity} slots are taken."
    )
    return Explanation(Verdict.WAITING, reason, expected, holders=holders)


def _resting(scene: _Scene) -> Explanation:
    state, at = scene.state, scene.state.next_execution_at
    reason = f"It is not due before {at:%Y-%m-%d %H:%M:%S} UTC."
    if state.status != Status.FAILED:
        return Explanation(Verdict.RESTING, reason, at + scene.tick)
    reason += (
        f" Its last import failed ({state.last_outcome}, {state.retry_count} in a row): {state.last_error}"
    )
    cure = remedy(state.last_outcome, path=scene.mirror.path)
    return Explanation(Verdict.RESTING, f"{reason} {cure}".rstrip(), at + scene.tick)


def _held_up_by_host(scene: _Scene, *, counts: Counts, due: datetime) -> Explanation | None:
    """Name the host, if it may not have another import now."""
    host = state_of(scene.mirror.host, capacity=counts.capacity, configured=scene.configured, now=scene.now)
    if host.max_slots == 0:
        act = f"manage.py host set {host.name} --max-slots none"
        return Explanation(Verdict.HELD_BACK, f"No import of its host may start. {host}.", act=act)
    if not host.is_full:
        return None
    line = ImportState.objects.filter(host=scene.mirror.host_id, import_due_at__lt=due).count()
    rounds = 1 + line // max(1, host.limit)
    starts = (host.cooling_until or scene.now) + scene.tick + _usual_import() * rounds
    reason = f"It is due, and {line} of its host stand before it. {host}."
    return Explanation(Verdict.WAITING, reason, starts)


def _usual_import() -> timedelta:
    recent = ImportAttempt.objects.filter(ended_at__isnull=False).order_by("-ended_at").values("pk")[:RECENT]
    took = ExpressionWrapper(F("ended_at") - F("started_at"), output_field=DurationField())
    mean: timedelta | None = ImportAttempt.objects.filter(
        pk__in=list(recent.values_list("pk", flat=True))
    ).aggregate(mean=Avg(took))["mean"]
    return mean or USUAL_IMPORT
