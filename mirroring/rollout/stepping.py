"""Taking the steps of a rollout: a larger share, the next environment, or here by lease; and the end, without one."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from mirroring.flags.changes import Change, Origin, change_flag
from mirroring.flags.state import State
from mirroring.models import Rollout, RolloutState
from mirroring.models.rollout import Overtaken
from mirroring.rollout import announcing, arms, environments, samples
from mirroring.rollout.rolling_back import Cause, turn_off_elsewhere
from mirroring.rollout.steps import HERE, Step, StepKind


def step_of(rollout: Rollout, number: int) -> Step:
    """Return one step of a rollout."""
    kind, value = rollout.steps[number]
    return Step(StepKind(kind), value)


def leases(rollout: Rollout) -> bool:
    """Say whether the present step has the flag on here, by lease."""
    return not rollout.shadow and _is_here(step_of(rollout, rollout.step))


def _is_here(step: Step) -> bool:
    return step.kind is StepKind.PERCENTAGE or step.value == HERE


def take(rollout: Rollout, number: int, *, now: datetime, overrides: frozenset[str] = frozenset()) -> None:
    """Take a step; raise FlagRefused, EnvironmentRefused or Overtaken, and then nothing has changed."""
    step = step_of(rollout, number)
    until = now + rollout.lease if _is_here(step) and not rollout.shadow else None
    afresh: dict[str, Any] = {"step_started_at": now, "judged_at": None, "tally": {}, "judgements": []}

    def taken(before: State | None = None) -> None:
        _see_that_it_is_ours(rollout, before)
        rollout.move(state=RolloutState.RUNNING, step=number, leased_until=until, **afresh)
        split = arms.split_of(rollout, now=now)
        rollout.move(arm_sizes=arms.sizes(split) if split else {})

    if rollout.shadow:
        taken()
    elif until is None:
        _begin_elsewhere(rollout, number, along=taken)
    else:
        _turn_on(rollout, step, until=until, overrides=overrides, along=taken)
    text = f"step {number + 1} of {len(rollout.steps)}: {step}"
    announcing.say(rollout, "step", text, at=now, step=number, value=str(step))


def _see_that_it_is_ours(rollout: Rollout, before: State | None) -> None:
    """Raise Overtaken where the flag is on here by lease, as far as the rollout knows, and it is not any more.

    Whoever turned it off while the gates were asked has had his answer: no step may turn it on again.
    """
    begun = rollout.state != RolloutState.BEGINNING
    if begun and leases(rollout) and before is not None and before.on_until is None:
        raise Overtaken(f"{rollout.flag} was turned off or set otherwise, or its lease ended")


def _begin_elsewhere(rollout: Rollout, number: int, *, along: Callable[[], None]) -> None:
    """Begin in another environment; turn it off there again if the rollout was ended or paused here meanwhile.

    That it may be on there is written first: an answer can be lost, and whoever asks can die.
    """
    environment = step_of(rollout, number).value
    if environment not in rollout.elsewhere:
        rollout.move(elsewhere=[*rollout.elsewhere, environment])
    mark = environments.mark(rollout)
    environments.known().start(environment, rollout.flag, interval=rollout.interval, mark=mark)
    try:
        along()
    except Overtaken:
        rollout.refresh_from_db()
        if not rollout.active or rollout.step != number:  # Else another driver has taken this very step.
            why = f"guarded rollout {rollout.pk} was ended or paused before this step began"
            turn_off_elsewhere(rollout, [environment], Cause(why, by=rollout.started_by))
        raise


def _turn_on(
    rollout: Rollout,
    step: Step,
    *,
    until: datetime,
    overrides: frozenset[str],
    along: Callable[[State], None],
) -> None:
    if step.kind is StepKind.PERCENTAGE:
        change = Change(percentage=step.percentage, on_until=until)
    else:
        change = Change(on=True, on_until=until)
    change_flag(
        rollout.flag,
        change,
        by=rollout.started_by,
        origin=Origin.ROLLOUT,
        why=f"guarded rollout {rollout.pk}: {step}",
        overrides=overrides,
        snapshot=samples.snapshot(),
        along=along,
    )


def finish(rollout: Rollout, *, now: datetime) -> None:
    """Make what the last step turned on permanent, and end the rollout. Raise Overtaken."""
    last = step_of(rollout, len(rollout.steps) - 1)

    def ended(before: State | None = None) -> None:
        _see_that_it_is_ours(rollout, before)
        rollout.move(state=RolloutState.DONE, ended_at=now, why="every guard stayed good")

    if leases(rollout):
        partial = last.kind is StepKind.PERCENTAGE and last.percentage < 100
        change = Change(percentage=last.percentage) if partial else Change(on=True)
        why = f"guarded rollout {rollout.pk} came through its last step"
        change_flag(
            rollout.flag,
            change,
            by=rollout.started_by,
            origin=Origin.ROLLOUT,
            why=why,
            snapshot=samples.snapshot(),
            along=ended,
        )
    else:
        ended()
    announcing.say(rollout, "done", f"done, {last}", at=now)
