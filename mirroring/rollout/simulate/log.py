"""What happened in a simulation, as the guards and the report want it: a value of each measure every few seconds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mirroring.models import Claim
from mirroring.rollout.samples import lag
from mirroring.rollout.simulate.world import World
from mirroring.tracker.count_at_start import CountAtStart
from mirroring.tracker.job_tracker import JobTracker
from mirroring.tracker.round_trips import TRACKER, RoundTrips

PERIOD = 5.0
TRIPS_PER_MESSAGE = 3
"""What kombu sends for a message that is taken: the pop, the note that it is unacknowledged, its acknowledgement."""
CALLS_PER_MESSAGE = 6
"""Push, pop, two commands for the note and two for the acknowledgement."""


@dataclass
class Log:
    """Counts events. `over_scheduled` is told from them alone, not from the product's own counter."""

    capacity: int
    under_way: set[Claim] = field(default_factory=set)
    importing: set[Claim] = field(default_factory=set)
    over_scheduled: int = 0
    scheduled: int = 0
    failures: int = 0
    broker_trips: int = 0
    broker_calls: int = 0
    series: list[dict[str, float]] = field(default_factory=list)

    def enqueued(self, claims: Sequence[Claim]) -> None:
        """Note jobs that were enqueued, and how many of them the capacity had no room for."""
        taken = len(self.importing) + len(self.under_way) + len(claims)
        self.over_scheduled += min(len(claims), max(0, taken - self.capacity))
        self.under_way.update(claims)
        self.message(len(claims))

    def message(self, number: int) -> None:
        """Note messages that went through the broker in one flush."""
        self.broker_trips += 1 + TRIPS_PER_MESSAGE * number
        self.broker_calls += CALLS_PER_MESSAGE * number

    def asked_broker(self) -> None:
        """Note a look at the length of a queue."""
        self.broker_trips += 1
        self.broker_calls += 1

    def handed_over(self, claim: Claim) -> None:
        """Note a job that has come to the door, or was lost on the way."""
        self.under_way.discard(claim)

    def admitted(self, claim: Claim) -> None:
        """Note a mirror that has its slot."""
        self.scheduled += 1
        self.importing.add(claim)

    def ended(self, claim: Claim, *, failed: bool = False) -> None:
        """Note a mirror that has given its slot back."""
        self.importing.discard(claim)
        self.failures += failed


@dataclass
class Observer:
    """Looks at a simulation every few seconds, as the sampler does at the service."""

    world: World
    tracker: JobTracker
    log: Log
    meter: RoundTrips
    told: Callable[[], int]
    before: dict[str, float] = field(default_factory=dict)

    def look(self) -> None:
        """Note a value of each measure."""
        with_counters = self.tracker.counters()
        self._collect()
        totals = {
            "over_scheduled": self.log.over_scheduled,
            "over_scheduled_counted": with_counters.get("over_scheduled", 0),
            "scheduled": self.log.scheduled,
            "import_failures": self.log.failures,
            "bounced": with_counters.get("bounced", 0),
            "queue_delay_ms": with_counters.get("queue_delay_ms", 0),
            "slots_healed": with_counters.get("repaired_slots", 0),
            "tracker_trips": self._tracker_trips,
            "broker_trips": self.log.broker_trips,
            "calls": self.tracker.server_calls() - self.told() + self.log.broker_calls,
        }
        if self.before:
            self.log.series.append(self._values({k: v - self.before[k] for k, v in totals.items()}))
        self.before = {name: float(value) for name, value in totals.items()}

    _tracker_trips: int = 0

    def _collect(self) -> None:
        self._tracker_trips += self.meter.take().get(f"round_trips_{TRACKER}", 0)

    def _values(self, grown: dict[str, float]) -> dict[str, float]:
        trips = grown["tracker_trips"] + grown["broker_trips"]
        scheduled = grown["scheduled"]
        names = ("over_scheduled", "over_scheduled_counted", "bounced", "scheduled", "import_failures")
        values = {name: grown[name] for name in names}
        values |= {
            "redis_round_trips": trips / PERIOD,
            "redis_round_trips_tracker": grown["tracker_trips"] / PERIOD,
            "redis_round_trips_broker": grown["broker_trips"] / PERIOD,
            "redis_calls": grown["calls"] / PERIOD,
            "lag_seconds": lag(now=self.world.now).total_seconds(),
            "capacity_used": len(self.log.importing) / self.log.capacity,
            "slots_leaked": grown["slots_healed"] + self._held_by_nobody(),
        }
        if scheduled:
            values["queue_delay_seconds"] = grown["queue_delay_ms"] / scheduled / 1000
        return values

    def _held_by_nobody(self) -> int:
        """Count ids that a tracker without leases keeps of jobs that are dead."""
        return self.tracker.held_by_dead(self.log.under_way) if isinstance(self.tracker, CountAtStart) else 0
