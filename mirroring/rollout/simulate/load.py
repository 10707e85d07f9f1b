"""What a simulated service has to do: as given, or as this service has recorded it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mirroring.models import ImportAttempt, ImportState, MetricSample, SchedulingSettings
from mirroring.rules.outcomes import SUCCESSES

RECORDED = 500


@dataclass(frozen=True)
class Load:
    """A fleet of mirrors and the delays that its jobs meet. The defaults are a slow queue on purpose."""

    mirrors: int = 300
    capacity: int = 20
    seconds: int = 240
    broker_delay: float = 0.2
    job_seconds: float = 3.0
    scheduling_threads: int = 2
    import_seconds: float = 20.0
    durations: Sequence[float] = ()
    failing: float = 0.05
    killed: float = 0.02
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 1

    def dice(self) -> random.Random:
        """Return the same dice for every arm."""
        return random.Random(self.seed)  # noqa: S311  # a simulation, not a secret

    def duration(self, dice: random.Random) -> float:
        """Draw how long an import takes: one that was recorded, or one like that."""
        if self.durations:
            return dice.choice(self.durations)
        return dice.lognormvariate(0.0, 0.6) * self.import_seconds


SLOW_QUEUE: dict[str, Any] = {
    "mirror_capacity_threshold": 10,
    "mirror_min_delay_seconds": 30,
    "mirror_max_delay_seconds": 300,
    "mirror_jitter_seconds": 5,
    "schedule_wait_timeout_seconds": 5,
    "tick_seconds": 10,
}
"""The settings of the synthetic load: what happens in hours on a large service happens here in minutes."""


def recorded(load: Load) -> Load:
    """Return the load that this service has had: its fleet, its settings, its last imports and its queue's delay."""
    configured = SchedulingSettings.current()
    kept = {
        each.name: getattr(configured, each.name) for each in configured._meta.fields if each.name != "id"
    }
    ended = ImportAttempt.objects.filter(ended_at__isnull=False).order_by("-ended_at")[:RECORDED]
    attempts = [(each.ended_at - each.started_at, each.outcome) for each in ended if each.ended_at]
    samples = MetricSample.objects.order_by("-at")[:RECORDED]
    delays = [each.values["queue_delay_seconds"] for each in samples if "queue_delay_seconds" in each.values]
    return replace(
        load,
        mirrors=max(1, ImportState.objects.filter(active=True).count()),
        capacity=configured.mirror_max_capacity,
        durations=[max(0.01, took.total_seconds()) for took, _ in attempts],
        failing=sum(outcome not in SUCCESSES for _, outcome in attempts) / max(1, len(attempts)),
        broker_delay=sum(delays) / len(delays) if delays else load.broker_delay,
        settings=kept,
    )
