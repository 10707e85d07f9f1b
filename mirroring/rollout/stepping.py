"""Taking the steps of a rollout: a larger share, the next environment, or here by lease; and the end, without one."""

from collections.abc import Callable
from datetime import datetime

from mirroring.flags.changes import Change, Origin, change_flag
from mirroring.models import Rollout, RolloutState
from mirroring.models.rollout import Overtaken
from mirroring.rollout import announcing, arms, environments, samples
from mirroring.rollout.rolling_back import Cause, turn_off_in
from mirroring.rollout.steps import HERE, Step, StepKind


def step_of(rollout: Rollout, number: int) -> Step:
    """Return one step of a rollout."""
    kind, value = rollout.steps[number]
    return Step(StepKind(kind), value)


def leases(rollout: Rollout) -> bool:
    """Say whether the present step has the flag on here, by lease."""
    step = step_of(rollout, rollout.step)
    return not rollout.shadow and (step.kind is StepKind.PERCENTAGE or step.value == HERE)


def take(rollout: Rollout, number: int, *, now: datetime, overrides: frozenset[str] = frozenset()) -> None:
    """Take a step; raise FlagRefused, EnvironmentRefused or Overtaken, and then nothing has changed."""
    step = step_of(rollout, number)

    def taken() -> None:
        rollout.move(step=number, step_started_at=now, judged_at=None, tally={}, judgements=[])
        split = arms.split_of(rollout, now=now)
        rollout.move(arm_sizes=arms.sizes(split) if split else {})

    if rollout.shadow:
        taken()
    elif step.kind is StepKind.ENVIRONMENT and step.value != HERE:
        _begin_elsewhere(rollout, step.value, along=taken)
    else:
        _turn_on(rollout, step, now=now, overrides=overrides, along=taken)
    text = f"step {number + 1} of {len(rollout.steps)}: {step}"
    announcing.say(rollout, "step", text, at=now, step=number, value=str(step))


def _begin_elsewhere(rollout: Rollout, environment: str, *, along: Callable[[], None]) -> None:
    """Begin in another environment; turn it off there again if the rollout was ended or paused here meanwhile."""
    by = rollout.started_by
    environments.known().start(environment, rollout.flag, interval=rollout.interval, by=by)
    try:
        along()
    except Overtaken:
        why = f"guarded rollout {rollout.pk} was ended or paused before this step began"
        turn_off_in(environment, rollout, Cause(why, by=by))
        raise


def _turn_on(
    rollout: Rollout,
    step: Step,
    *,
    now: datetime,
    overrides: frozenset[str],
    along: Callable[[], None],
) -> None:
    until = now + rollout.lease
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

    def ended() -> None:
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
