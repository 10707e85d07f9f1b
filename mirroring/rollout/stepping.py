"""Taking the steps of a rollout: a larger share, the next environment, or here by lease; and the end, without one."""

from datetime import datetime

from mirroring.flags.changes import Change, Origin, change_flag
from mirroring.models import Rollout, RolloutState
from mirroring.rollout import announcing, arms, environments, samples
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
    """Take a step; raise FlagRefused or EnvironmentRefused, and then nothing has changed."""
    step = step_of(rollout, number)
    if not rollout.shadow:
        _turn_on(rollout, step, now=now, overrides=overrides)
    fields = {"step": number, "step_started_at": now, "judged_at": None, "tally": {}, "judgements": []}
    rollout.step = number
    split = arms.split_of(rollout, now=now)
    fields["arm_sizes"] = arms.sizes(split) if split else {}
    for name, value in fields.items():
        setattr(rollout, name, value)
    rollout.save(update_fields=[*fields])
    text = f"step {number + 1} of {len(rollout.steps)}: {step}"
    announcing.say(rollout, "step", text, at=now, step=number, value=str(step))


def _turn_on(rollout: Rollout, step: Step, *, now: datetime, overrides: frozenset[str]) -> None:
    if step.kind is StepKind.ENVIRONMENT and step.value != HERE:
        environments.known().start(step.value, rollout.flag, interval=rollout.interval, by=rollout.started_by)
        return
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
    )


def finish(rollout: Rollout, *, now: datetime) -> None:
    """Make what the last step turned on permanent, and end the rollout."""
    last = step_of(rollout, len(rollout.steps) - 1)
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
        )
    rollout.state, rollout.ended_at, rollout.why = RolloutState.DONE, now, "every guard stayed good"
    rollout.save(update_fields=["state", "ended_at", "why"])
    announcing.say(rollout, "done", f"done, {last}", at=now)
