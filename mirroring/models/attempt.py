"""The history: one row for each import that was started."""

from django.db import models

from mirroring.models.mirror import Mirror
from mirroring.rules.outcomes import Outcome


class ImportAttempt(models.Model):
    """One import of one mirror under one epoch. It is written before the work starts, and closed once."""

    mirror = models.ForeignKey(Mirror, on_delete=models.CASCADE, related_name="attempts")
    epoch = models.PositiveBigIntegerField()
    worker = models.CharField(max_length=200)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=20, blank=True, choices=[(outcome, outcome) for outcome in Outcome])
    error = models.CharField(max_length=1000, blank=True)
    refs_changed = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["-started_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["mirror", "epoch"], name="one_attempt_per_epoch")]
        indexes = [
            models.Index(fields=["mirror", "-started_at"], name="attempt_history"),
            models.Index(fields=["ended_at"], name="attempt_ended"),  # for pruning, and failures by class
        ]

    def __str__(self) -> str:
        return f"{self.mirror_id} epoch {self.epoch}: {self.outcome or 'running'}"
