"""Guarded rollouts: where each stands, what happened in it, and what people ticked in the plan of a flag."""

from datetime import timedelta
from typing import Any

from django.db import models
from django.db.models import Q


class RolloutState(models.TextChoices):
    """Where a rollout stands."""

    BEGINNING = "beginning"  # Its first step is being taken; nobody drives it yet.
    RUNNING = "running"
    HELD = "held"  # A budget says wait: it goes on by itself when the guards can be judged again.
    PAUSED = "paused"  # By a person. The guards stay armed.
    DONE = "done"
    ROLLED_BACK = "rolled back"
    ABORTED = "aborted"
    LAPSED = "lapsed"  # Nothing renewed the lease: the flag went off by itself.


DRIVEN = [RolloutState.RUNNING.value, RolloutState.HELD.value, RolloutState.PAUSED.value]
ACTIVE = [RolloutState.BEGINNING.value, *DRIVEN]
FAILED = [RolloutState.ROLLED_BACK.value, RolloutState.ABORTED.value, RolloutState.LAPSED.value]


class Overtaken(Exception):
    """A rollout is no longer as it was read: somebody else has moved it, and what he did stands."""


class Rollout(models.Model):
    """One rollout of one flag. Driven by beat, by rows alone, so that it survives every restart."""

    flag = models.CharField(max_length=100)
    state = models.CharField(max_length=20, choices=RolloutState.choices, default=RolloutState.BEGINNING)
    shadow = models.BooleanField(default=False, help_text="Judge and report, change nothing.")
    steps = models.JSONField()
    step = models.PositiveSmallIntegerField(default=0)
    interval_seconds = models.PositiveIntegerField()
    budgets = models.JSONField(default=dict)
    baseline = models.JSONField(default=dict)
    arm_sizes = models.JSONField(
        default=dict, help_text="Mirrors with the flag and without it, in this step."
    )
    tally = models.JSONField(default=dict)
    judgements = models.JSONField(default=list)

    started_by = models.CharField(max_length=200)
    started_at = models.DateTimeField()
    step_started_at = models.DateTimeField()
    driven_at = models.DateTimeField(help_text="When a driver last took it up.")
    leased_until = models.DateTimeField(null=True, help_text="Then the flag goes off here by itself.")
    judged_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    why = models.TextField(blank=True)

    breach_at = models.DateTimeField(null=True, help_text="The sample that broke a bound.")
    off_at = models.DateTimeField(null=True)
    confirmed_at = models.DateTimeField(
        null=True, help_text="Every live process had announced that it sees it off."
    )
    lagging = models.JSONField(default=list)
    elsewhere = models.JSONField(
        default=list, help_text="Environments in which it may have turned the flag on."
    )

    class Meta:
        ordering = ["-started_at", "-id"]
        default_permissions = ("view", "change")
        constraints = [
            models.UniqueConstraint(
                fields=["flag"], condition=Q(state__in=ACTIVE), name="one_rollout_at_a_time_per_flag"
            )
        ]

    def __str__(self) -> str:
        return f"{self.flag}: {self.state}"

    def move(self, *also: str, **fields: Any) -> None:
        """Write fields if it stands where it stood when it was read; raise Overtaken.

        Two drivers and several people act on it at once, each with his own copy of the row. `also`: what must be as it
        was read, beside state and step.
        """
        as_read = {name: getattr(self, name) for name in ("state", "step", *also)}
        if not Rollout.objects.filter(pk=self.pk, **as_read).update(**fields):
            raise Overtaken(str(self))
        for name, value in fields.items():
            setattr(self, name, value)

    @property
    def active(self) -> bool:
        """Say whether it is under way."""
        return self.state in ACTIVE

    @property
    def failed(self) -> bool:
        """Say whether it ended in off."""
        return self.state in FAILED

    @property
    def interval(self) -> timedelta:
        """Return how long a step lasts at least."""
        return timedelta(seconds=self.interval_seconds)

    @property
    def lease(self) -> timedelta:
        """Return how long "on" holds when nothing renews it."""
        return 2 * self.interval

    @property
    def rollback_seconds(self) -> float | None:
        """Return the time from the sample that broke a bound until every process saw the flag off."""
        began = self.breach_at or self.off_at
        return (self.confirmed_at - began).total_seconds() if self.confirmed_at and began else None


class RolloutEvent(models.Model):
    """One thing that happened in a rollout."""

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField()
    kind = models.CharField(max_length=30)
    text = models.TextField()
    data = models.JSONField(default=dict)

    class Meta:
        ordering = ["at", "id"]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


class PlanTick(models.Model):
    """One item of a flag's plan, ticked: by whom or what, when, and on what evidence."""

    flag = models.CharField(max_length=100)
    item = models.CharField(max_length=50)
    at = models.DateTimeField()
    by = models.CharField(max_length=200)
    kind = models.CharField(max_length=30)
    evidence = models.TextField()

    class Meta:
        ordering = ["flag", "item", "-at"]
        default_permissions = ("view", "add")

    def __str__(self) -> str:
        return f"{self.flag}: {self.item} by {self.by}"
