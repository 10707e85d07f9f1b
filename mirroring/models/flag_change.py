"""Who changed which flag: rows that are written once, each sealed onto the one before it."""

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q


class AuditIsKept(RuntimeError):
    """The audit is written, never rewritten."""


class FlagChangeQuerySet(models.QuerySet["FlagChange"]):
    """Reading the audit, and nothing else."""

    def update(self, **kwargs: Any) -> int:
        """Refuse."""
        raise AuditIsKept("An entry of the audit of flags is never changed")

    def delete(self) -> tuple[int, dict[str, int]]:
        """Refuse."""
        raise AuditIsKept("An entry of the audit of flags is never deleted")


class FlagChange(models.Model):
    """One change of one flag, by whichever way in. `seal` covers the entry and the seal before it."""

    sequence = models.PositiveBigIntegerField(unique=True)
    at = models.DateTimeField()
    flag = models.CharField(max_length=100)
    by = models.CharField(max_length=200)
    origin = models.CharField(max_length=20)
    why = models.TextField(blank=True)
    before = models.JSONField()
    after = models.JSONField()
    overrides = models.JSONField(default=list)
    gates = models.JSONField(default=list)
    snapshot = models.JSONField(default=dict)
    previous = models.CharField(max_length=64)
    digest = models.CharField(max_length=64)
    seal = models.CharField(max_length=64)

    objects: ClassVar[models.Manager["FlagChange"]] = FlagChangeQuerySet.as_manager()

    class Meta:
        ordering = ["-sequence"]
        indexes = [models.Index(fields=["flag", "-sequence"], name="flag_change_of_flag")]
        constraints = [models.CheckConstraint(condition=Q(sequence__gte=1), name="flag_change_from_one")]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.sequence}: {self.flag} by {self.by}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Write a new entry; refuse to write one again."""
        if not self._state.adding:
            raise AuditIsKept("An entry of the audit of flags is never changed")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Refuse."""
        raise AuditIsKept("An entry of the audit of flags is never deleted")
