"""Driving rollouts: judge the newest sample, renew the lease, take the next step when its time has come.

Called after every sample, and by a tick of its own in case there are none. All it knows is in rows.
"""

import logging
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timedelta

from mirroring.flags import readings
from mirroring.flags.changes import FlagRefused, renew_lease
from mirroring.models import MetricSample, Rollout, RolloutState
from mirroring.models.rollout import DRIVEN, Overtaken
from mirroring.rollout import announcing, stepping, windows
from mirroring.rollout.controller import budgets_of, guards_of
from mirroring.rollout.elsewhere import follow, turn_off_what_is_left
from mirroring.rollout.environments import EnvironmentRefused
from mirroring.rollout.guards import Action, Decision, Judgement, Tally, Verdict, decide
from mirroring.rollout.rolling_back import PATIENCE, Cause, confirm, roll_back
from mirroring.rollout.samples import PERIOD
from mirroring.tracker.job_tracker import JobTracker

logger = logging.getLogger(__name__)

DRIVER = "guarded rollout"
CONFIRMED_WITHIN = timedelta(minutes=10)
BEGUN_WITHIN = timedelta(minutes=5)
EARLY = {Verdict.TOO_FEW, Verdict.NO_DATA}
"""Verdicts that say nothing while a step is young and samples still come."""


def drive_all(*, now: datetime, tracker: JobTracker) -> None:
    """Drive every rollout that is under way; see to the end of those that were rolled back and not yet seen off."""
    for rollout in Rollout.objects.filter(state__in=DRIVEN).order_by("pk"):
        try:
            drive(rollout, now=now, tracker=tracker)
        except Overtaken:
            logger.info("another driver, or a person, has moved a rollout first")
        except Exception:
            # One that cannot be driven must not keep the others from it; its lease then ends in off.
            logger.exception("a rollout could not be driven")
    _give_up_what_does_not_begin(now=now)
    unconfirmed = Rollout.objects.filter(off_at__gt=now - CONFIRMED_WITHIN, confirmed_at=None)
    for rollout in unconfirmed.exclude(lagging=[], off_at__gt=now - 2 * PATIENCE):
        confirm(rollout, tracker=tracker, mark=None, wait=timedelta(0))
    turn_off_what_is_left(now=now)


def _give_up_what_does_not_begin(*, now: datetime) -> None:
    """End what somebody began and did not get to its first step."""
    for rollout in Rollout.objects.filter(state=RolloutState.BEGINNING, started_at__lt=now - BEGUN_WITHIN):
        why = "its first step was never taken: whoever began it is gone"
        with suppress(Overtaken):
            rollout.move(state=RolloutState.ABORTED, ended_at=now, why=why)
            announcing.say(rollout, "aborted", why, at=now)


def drive(rollout: Rollout, *, now: datetime, tracker: JobTracker) -> None:
    """Drive one rollout once. Of two drivers at once only one goes on; raise Overtaken for the other."""
    rows = Rollout.objects.filter(pk=rollout.pk, driven_at=rollout.driven_at, state__in=DRIVEN)
    if not rows.update(driven_at=now):
        return
    rollout.refresh_from_db()
    if stepping.leases(rollout) and not _is_still_ours(rollout, now=now, tracker=tracker):
        return
    decision, breach_at = _look(rollout, now=now)
    if decision.action is Action.ROLL_BACK:
        roll_back(rollout, Cause(decision.why, by=DRIVER, breach_at=breach_at), tracker=tracker)
        return
    if stepping.leases(rollout):
        _renew(rollout, now=now)
    _hold_or_go_on(rollout, decision, now=now)
    ready = now - rollout.step_started_at >= rollout.interval and decision.may_advance
    if rollout.state == RolloutState.RUNNING and ready:
        _advance(rollout, now=now, tracker=tracker)


def _renew(rollout: Rollout, *, now: datetime) -> None:
    """Renew the lease. Only after a look that did not end in off: one that fails, however often, lets it run out."""
    until = now + rollout.lease
    if not renew_lease(rollout.flag, until, now=now):
        raise Overtaken(f"the lease of {rollout.flag} has just ended, or somebody has set it")
    rollout.move(leased_until=until)


def _is_still_ours(rollout: Rollout, *, now: datetime, tracker: JobTracker) -> bool:
    """Say whether it is on by lease. If that has ended, or somebody has set the flag otherwise, the rollout is over."""
    lapsed = rollout.leased_until is not None and now >= rollout.leased_until
    state = readings.read(rollout.flag, now=now).state
    if state.on_until is not None and not lapsed:
        return True
    if lapsed or not state.is_set or not (state.for_all or state.for_some):
        lease = f"nothing had renewed its lease since {rollout.lease.total_seconds():.0f} s"
        why = lease if lapsed else "the flag was turned off by hand, or its lease ended"
        ends_as = RolloutState.LAPSED if lapsed else RolloutState.ABORTED
        roll_back(rollout, Cause(why, by=DRIVER, ends_as=ends_as), tracker=tracker)
        return False
    why = "somebody set the flag by hand: it is left as it was set, with no lease and no guard"
    rollout.move(state=RolloutState.ABORTED, ended_at=now, why=why)
    announcing.say(rollout, "aborted", why, at=now)
    return False


def _look(rollout: Rollout, *, now: datetime) -> tuple[Decision, datetime | None]:
    """Judge every guard if there is a new sample, or if they have stopped. Return what to do, and the sample's time."""
    tally, budgets = Tally(**rollout.tally), budgets_of(rollout.budgets)
    since = rollout.step_started_at + min(PERIOD, rollout.interval / 2)
    newest = MetricSample.objects.filter(at__gt=since, at__lte=now).order_by("-at").first()
    last_look = rollout.judged_at or rollout.step_started_at
    silent = (newest is None or newest.at <= last_look) and now - last_look > windows.STALE
    if not silent and (newest is None or newest.at <= last_look):
        return _standing(rollout, tally), None
    judged = [windows.judged(guard, rollout, since=since, now=now) for guard in guards_of(rollout.flag)]
    young = now - rollout.step_started_at < rollout.interval and not silent
    verdicts = [each.verdict for each in judged if not (young and each.verdict in EARLY)]
    tally = tally.after(verdicts)
    looked_at = now if silent or newest is None else newest.at
    _keep(rollout, judged, tally, at=looked_at)
    decision = decide(tally, verdicts, budgets)
    return _explained(decision, judged), looked_at


def _standing(rollout: Rollout, tally: Tally) -> Decision:
    """Return what the last look decided; it is not counted twice."""
    verdicts = [Verdict(each["verdict"]) for each in rollout.judgements]
    decision = decide(tally, verdicts, budgets_of(rollout.budgets))
    return Decision(decision.action, decision.may_advance and bool(verdicts), decision.why, decision.exceeded)


def _explained(decision: Decision, judged: list[Judgement]) -> Decision:
    bad = [f"{each.guard.metric} {each.why}" for each in judged if each.verdict != Verdict.GOOD]
    why = "; ".join([decision.why, *bad] if decision.why else bad)
    return Decision(decision.action, decision.may_advance, why, decision.exceeded)


def _keep(rollout: Rollout, judged: list[Judgement], tally: Tally, *, at: datetime) -> None:
    judgements = [
        {
            "guard": str(each.guard),
            "metric": each.guard.metric,
            "verdict": str(each.verdict),
            "baseline": each.baseline,
            "current": each.current,
            "why": each.why,
        }
        for each in judged
    ]
    rollout.move("judged_at", judgements=judgements, tally=asdict(tally), judged_at=at)


def _hold_or_go_on(rollout: Rollout, decision: Decision, *, now: datetime) -> None:
    """Change between running and held as the budgets say. A person's pause stands."""
    wanted = RolloutState.HELD if decision.action is Action.HOLD else RolloutState.RUNNING
    if rollout.state == RolloutState.PAUSED or rollout.state == wanted:
        return
    held = wanted is RolloutState.HELD
    rollout.move(state=wanted, why=decision.why if held else "")
    text = f"held: {decision.why}" if held else "goes on: the guards can be judged again"
    announcing.say(rollout, "held" if held else "resumed", text, at=now)


def _advance(rollout: Rollout, *, now: datetime, tracker: JobTracker) -> None:
    """Take the next step, or finish. A gate or an environment that refuses holds it back; it is asked again."""
    try:
        if not follow(rollout, tracker=tracker):
            return
        if rollout.step + 1 < len(rollout.steps):
            stepping.take(rollout, rollout.step + 1, now=now)
        else:
            stepping.finish(rollout, now=now)
    except (FlagRefused, EnvironmentRefused) as refusal:
        if rollout.why != str(refusal):
            rollout.move(why=str(refusal))
            announcing.say(rollout, "held", f"waits: {refusal}", at=now)
