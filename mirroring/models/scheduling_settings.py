"""What an operator may change while the system runs: one row, read once per run."""

from datetime import timedelta
from functools import lru_cache

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from mirroring.models.prepared import PreparedSelect
from mirroring.rules.cadence import Cadence
from mirroring.rules.hosts import Bounds, bounds

DAY = 86_400
LONGEST_FETCH = 18_000
"""Seconds: below the visibility timeout of the broker, after which the message of an import would come again."""

FROM_THE_NEXT_IMPORT = "Applies from each mirror's next import on."


def _number(
    default: int, *, low: int = 0, high: int = 30 * DAY, text: str = ""
) -> "models.PositiveIntegerField[int, int]":
    """Return a field for a whole number within bounds."""
    bounds = [MinValueValidator(low), MaxValueValidator(high)]
    return models.PositiveIntegerField(default=default, validators=bounds, help_text=text)


@lru_cache(maxsize=16)
def _cadence(least: int, most: int, jitter: int, retries: int) -> Cadence:
    return Cadence(timedelta(seconds=least), timedelta(seconds=most), timedelta(seconds=jitter), retries)


class SchedulingSettings(models.Model):
    """Capacity, delays, leases and ticks. The defaults are GitLab's where GitLab has the setting."""

    mirror_max_capacity = _number(100, high=1_000_000, text="Imports that may be in flight at once.")
    mirror_capacity_threshold = _number(
        50, high=1_000_000, text="Free slots at which a run is followed by another (second flag off)."
    )
    mirror_max_delay_seconds = _number(
        18_000, low=1, text=f"Longest wait between two imports of a mirror. {FROM_THE_NEXT_IMPORT}"
    )
    mirror_min_delay_seconds = _number(
        1_800, low=1, text=f"Shortest wait between two imports of a mirror. {FROM_THE_NEXT_IMPORT}"
    )
    mirror_jitter_seconds = _number(
        60, high=DAY, text=f"Random addition to both waits, at most. {FROM_THE_NEXT_IMPORT}"
    )
    mirror_max_retry = _number(
        14, high=1_000, text="Failures in a row that are retried; the next one is a hard failure."
    )
    mirror_host_share_percent = _number(
        90, low=1, high=100, text="Part of the capacity that the imports of one host may hold."
    )
    mirror_host_adaptive = models.BooleanField(
        default=True,
        help_text="Hosts earn their slots by their answers and are left alone while they fail. Off: the share alone.",
    )
    schedule_wait_timeout_seconds = _number(
        120, high=3_600, text="How long a run waits for the queue to empty (second flag off)."
    )
    reschedule_wait_seconds = _number(
        1, high=60, text="Pause between two looks at the queue of a run that waits for it (second flag off)."
    )
    lease_seconds = _number(60, low=3, high=3_600, text="Life of a claim and of a slot that nobody renews.")
    tick_seconds = _number(
        60, low=1, high=DAY, text="How often the scheduler runs without being woken by a freed slot."
    )
    repair_tick_seconds = _number(
        10, low=1, high=3_600, text="How often it is looked for what dead workers have left."
    )
    fetch_timeout_seconds = _number(
        3_600, low=1, high=LONGEST_FETCH, text="How long one import may take, from first contact to its end."
    )
    credential_warning_days = _number(
        14, high=3_650, text="How long before the end of a credential its warnings begin."
    )
    idle_timeout_seconds = _number(
        60,
        low=5,
        high=3_600,
        text="How long an upstream may send next to nothing; a first clone may be slower.",
    )
    repository_limit_mb = _number(
        20_480, high=100_000_000, text="How large one repository may become; 0: without limit."
    )
    disk_floor_mb = _number(
        1_024,
        high=100_000_000,
        text="Free space below which a worker takes no imports; at most a twentieth of its disk counts.",
    )
    paused_all = models.BooleanField(default=False, help_text="Start no imports; those in flight end.")
    silent_mode = models.BooleanField(
        default=False, help_text="No outgoing traffic: imports in flight are stopped."
    )

    class Meta:
        verbose_name = verbose_name_plural = "scheduling settings"

    def __str__(self) -> str:
        return "scheduling settings"

    def save(self, *args: object, **kwargs: object) -> None:
        """Save as the one row."""
        self.pk = 1
        super().save(*args, **kwargs)  # type: ignore[arg-type]

    @classmethod
    def current(cls) -> "SchedulingSettings":
        """Return the row; the defaults where it has not been made."""
        return next(iter(_the_row(cls.objects.all())), None) or cls(pk=1)

    def clean(self) -> None:
        """Refuse values that contradict each other."""
        if self.mirror_min_delay_seconds > self.mirror_max_delay_seconds:
            raise ValidationError("mirror_min_delay_seconds must not exceed mirror_max_delay_seconds.")

    @property
    def holds_all_back(self) -> bool:
        """Say whether no import may start."""
        return self.paused_all or self.silent_mode

    @property
    def credential_warning(self) -> timedelta:
        """Return how long before the end of a credential its warnings begin."""
        return timedelta(days=self.credential_warning_days)

    @property
    def lease(self) -> timedelta:
        """Return the life of a claim or slot."""
        return timedelta(seconds=self.lease_seconds)

    def host_bounds(self, capacity: int) -> Bounds:
        """Return what the hosts are held to within the capacity in force."""
        return bounds(
            capacity, share_percent=self.mirror_host_share_percent, adaptive=self.mirror_host_adaptive
        )

    @property
    def cadence(self) -> Cadence:
        """Return the bounds of the next-execution formula."""
        bounds = self.mirror_min_delay_seconds, self.mirror_max_delay_seconds, self.mirror_jitter_seconds
        return _cadence(*bounds, self.mirror_max_retry)


@PreparedSelect
def _the_row(rows: "models.QuerySet[SchedulingSettings]") -> "models.QuerySet[SchedulingSettings]":
    return rows.filter(pk=1)
