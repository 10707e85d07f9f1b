"""Upstreams that moved: where a permanent redirect leads, and what a person decided about it."""

from datetime import datetime
from typing import ClassVar

from django.db import models

from mirroring.models.mirror import Mirror

PROPOSED_AFTER = 3
"""Imports in a row that were redirected to the same place: one may be a mistake of the upstream's."""


class Decision(models.TextChoices):
    """What a person said to a proposal."""

    ACCEPTED = "accepted"
    DECLINED = "declined"


class RelocationQuerySet(models.QuerySet["Relocation"]):
    """What imports note and people decide."""

    def note(self, mirror: Mirror, *, to_url: str, last_success: datetime | None, now: datetime) -> None:
        """Note that an import was redirected for good. An import that succeeded without it starts the count anew."""
        kept = self.filter(mirror=mirror, from_url=mirror.url, to_url=to_url).exclude(
            decision=Decision.ACCEPTED
        )
        row = kept.first()
        if row is None:
            self.create(
                mirror=mirror, from_url=mirror.url, to_url=to_url, first_seen_at=now, last_seen_at=now
            )
            return
        in_a_row = last_success is None or row.last_seen_at >= last_success
        row.seen = row.seen + 1 if in_a_row else 1
        row.first_seen_at = row.first_seen_at if in_a_row else now
        row.last_seen_at = now
        row.save(update_fields=["seen", "first_seen_at", "last_seen_at"])

    def proposal(self, mirror: Mirror) -> "Relocation | None":
        """Return the move that waits for a decision, if the last import that succeeded was redirected too."""
        waiting = self.filter(
            mirror=mirror, from_url=mirror.url, decision="", seen__gte=PROPOSED_AFTER
        ).order_by("-last_seen_at")
        row, last = waiting.first(), mirror.state.last_successful_update_at
        return row if row and (last is None or row.last_seen_at >= last) else None


class Relocation(models.Model):
    """One move of one upstream. Rows stay: they say who decided what, and when."""

    mirror = models.ForeignKey(Mirror, on_delete=models.CASCADE, related_name="relocations")
    from_url = models.CharField(max_length=2000)
    to_url = models.CharField(max_length=2000)
    seen = models.PositiveIntegerField(default=1)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    decision = models.CharField(max_length=8, choices=Decision.choices, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.CharField(max_length=200, blank=True)

    objects: ClassVar[models.Manager["Relocation"]] = RelocationQuerySet.as_manager()

    class Meta:
        ordering = ["-last_seen_at"]

    def __str__(self) -> str:
        return f"{self.from_url} -> {self.to_url}"
