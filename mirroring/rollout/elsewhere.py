"""Following the step that runs in another environment: this rollout goes on when that one is done."""

from datetime import datetime, timedelta

from mirroring.models import Rollout, RolloutState
from mirroring.models.rollout import FAILED
from mirroring.rollout import environments, stepping
from mirroring.rollout.rolling_back import Cause, roll_back, turn_off_elsewhere
from mirroring.rollout.steps import HERE, StepKind
from mirroring.tracker.job_tracker import JobTracker

ASKED_AGAIN, ASKED_FOR = timedelta(seconds=30), timedelta(days=1)


def follow(rollout: Rollout, *, tracker: JobTracker) -> bool:
    """Say whether the present step is over. One that failed elsewhere takes the whole rollout back."""
    step = stepping.step_of(rollout, rollout.step)
    if rollout.shadow or step.kind is not StepKind.ENVIRONMENT or step.value == HERE:
        return True
    state = environments.known().state(step.value, rollout.flag, mark=environments.mark(rollout))
    if state is None:
        raise environments.EnvironmentRefused(
            f"{step.value}: somebody has begun another rollout there since, so how this one ended is not known. "
            f"Abort it (feature rollout abort {rollout.flag}) and start again"
        )
    if state in FAILED:
        why = f"its rollout in {step.value} ended as {state}"
        roll_back(rollout, Cause(why, by="guarded rollout"), tracker=tracker)
        return False
    return state == RolloutState.DONE


def turn_off_what_is_left(*, now: datetime) -> None:
    """Ask again where what has ended here may still be on: who ended it may have died, or not have reached them."""
    ended = Rollout.objects.filter(state__in=FAILED, ended_at__gt=now - ASKED_FOR).exclude(elsewhere=[])
    for rollout in ended.filter(driven_at__lt=now - ASKED_AGAIN, ended_at__lt=now - ASKED_AGAIN):
        ours = Rollout.objects.filter(pk=rollout.pk, driven_at=rollout.driven_at)
        if ours.update(driven_at=now):
            turn_off_elsewhere(rollout, rollout.elsewhere, Cause(rollout.why, by="guarded rollout"))
