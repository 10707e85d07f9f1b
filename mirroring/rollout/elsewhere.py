"""Following the step that runs in another environment: this rollout goes on when that one is done."""

from mirroring.models import Rollout, RolloutState
from mirroring.rollout import environments, stepping
from mirroring.rollout.rolling_back import Cause, roll_back
from mirroring.rollout.steps import HERE, StepKind
from mirroring.tracker.job_tracker import JobTracker

FAILED = {RolloutState.ROLLED_BACK, RolloutState.ABORTED, RolloutState.LAPSED}


def follow(rollout: Rollout, *, tracker: JobTracker) -> bool:
    """Say whether the present step is over. One that failed elsewhere takes the whole rollout back."""
    step = stepping.step_of(rollout, rollout.step)
    if rollout.shadow or step.kind is not StepKind.ENVIRONMENT or step.value == HERE:
        return True
    state = environments.known().state(step.value, rollout.flag)
    if state in FAILED:
        why = f"its rollout in {step.value} ended as {state}"
        roll_back(rollout, Cause(why, by="guarded rollout"), tracker=tracker)
        return False
    return state == RolloutState.DONE
