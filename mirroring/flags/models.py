"""The flag row: our model on waffle's abstract switch.

It cannot be swapped for another later, so it holds from the first migration what rollouts need.
"""

from django.db import models
from waffle.models import AbstractBaseSwitch


class Flag(AbstractBaseSwitch):
    """One feature flag. Changed only through `mirroring.flags.changes`, which checks and records."""

    percentage = models.DecimalField(
        max_digits=6,
        decimal_places=3,
        null=True,
        blank=True,
        editable=False,
        help_text="Share of actors for which the flag is on.",
    )
    actors = models.JSONField(
        default=list, blank=True, editable=False, help_text="Actors for which the flag is on."
    )
    on_until = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="During a rollout, on is a lease that ends here."
    )
    on_since = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Since when it has been on for all, without a break."
    )
    changed_by = models.CharField(max_length=200, blank=True, editable=False)

    class Meta(AbstractBaseSwitch.Meta):
        abstract = False
        ordering = ["name"]
        verbose_name = "feature flag"  # type: ignore[assignment]
        verbose_name_plural = "feature flags"  # type: ignore[assignment]

    def __str__(self) -> str:
        return str(self.name)
