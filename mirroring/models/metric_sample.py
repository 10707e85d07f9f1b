"""What the service measured of itself, every few seconds: kept for days, for guards and for people."""

from django.db import models


class MetricSample(models.Model):
    """One look at everything. `values` are rates and gauges by measure; `totals` are what the next look counts from."""

    at = models.DateTimeField(db_index=True)
    seconds = models.FloatField(help_text="Time since the sample before; 0 for the first.")
    values = models.JSONField(default=dict)
    arms = models.JSONField(
        default=dict, help_text="For each flag that is rolled out by actor: on and off, apart."
    )
    errors = models.JSONField(default=dict, help_text="Why a measure could not be taken, by measure.")
    totals = models.JSONField(default=dict)

    class Meta:
        ordering = ["at"]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S}"
