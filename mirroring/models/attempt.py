"""The history: one row for each import that was started."""

from datetime import datetime
from typing import ClassVar

from django.db import models

from mirroring.models.claims import Claim
from mirroring.models.mirror import Mirror
from mirroring.models.prepared import Changes, PreparedUpdate
from mirroring.rules.outcomes import Outcome


class ImportAttemptQuerySet(models.QuerySet["ImportAttempt"]):
    """What is noted of attempts."""

    def close(
        self, claim: Claim, *, at: datetime, outcome: Outcome, error: str, refs_changed: int = 0
    ) -> bool:
        """Note how the attempt under a claim ended, if it is open."""
        how = {"ended_at": at, "outcome": outcome, "error": error, "refs_changed": refs_changed}
        return _close(self, mirror_id=claim.mirror_id, epoch=claim.epoch, **how) == 1


@PreparedUpdate
def _close(rows: ImportAttemptQuerySet, *, mirror_id: int, epoch: int, **how: object) -> Changes:
    return Changes(rows.filter(mirror_id=mirror_id, epoch=epoch, ended_at=None), how)


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

    objects: ClassVar[ImportAttemptQuerySet] = ImportAttemptQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ["-started_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["mirror", "epoch"], name="one_attempt_per_epoch")]
        indexes = [
            models.Index(fields=["mirror", "-started_at"], name="attempt_history"),
            models.Index(fields=["ended_at"], name="attempt_ended"),  # for pruning, and failures by class
        ]

    def __str__(self) -> str:
        return f"{self.mirror_id} epoch {self.epoch}: {self.outcome or 'running'}"
