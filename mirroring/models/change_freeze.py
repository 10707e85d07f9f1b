"""The manual switch that holds back turning flags on."""

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import Q


class ChangeFreeze(models.Model):
    """A time in which no flag is turned on. At most one of them holds."""

    reason = models.CharField(max_length=500)
    holds = models.BooleanField(default=True)
    began_at = models.DateTimeField()
    began_by = models.CharField(max_length=200)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["-began_at"]
        constraints = [
            models.UniqueConstraint(fields=["holds"], condition=Q(holds=True), name="one_freeze_holds"),
        ]
        default_permissions = ("add", "view")

    def __str__(self) -> str:
        return f"{self.reason} ({self.began_by})"

    @classmethod
    def current(cls) -> Self | None:
        """Return the freeze that holds now."""
        return cls.objects.filter(holds=True).first()

    @classmethod
    def begin(cls, reason: str, *, by: str, now: datetime) -> Self:
        """Begin a freeze; one that holds already is kept, with its own reason."""
        fresh = {"reason": reason, "began_by": by, "began_at": now}
        return cls.objects.get_or_create(holds=True, defaults=fresh)[0]

    @classmethod
    def end(cls, *, by: str, now: datetime) -> bool:
        """End the freeze. False if there was none."""
        return cls.objects.filter(holds=True).update(holds=False, ended_at=now, ended_by=by) > 0
