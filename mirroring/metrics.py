"""Every metric: name, help, unit and labels. Nothing here measures; /metrics fills them in at scrape time.

A label never holds the name or URL of a mirror: the number of series must not grow with the number of mirrors.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric


@dataclass(frozen=True)
class Gauge:
    """The declaration of one metric that goes up and down."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""

    def family(self) -> Metric:
        """Return an empty set of samples."""
        return GaugeMetricFamily(self.name, self.help, labels=self.labels, unit=self.unit)


@dataclass(frozen=True)
class Counter:
    """The declaration of one metric that only grows, until Redis loses its memory."""

    name: str
    help: str
    labels: tuple[str, ...] = ()

    def family(self) -> Metric:
        """Return an empty set of samples."""
        return CounterMetricFamily(self.name, self.help, labels=self.labels)


UP = Gauge("mirroring_up", "1 if a part that this service leans on answers: database, redis.", ("part",))
BUILD = Gauge("mirroring_build_info", "Always 1; the labels say what runs.", ("revision", "django", "celery"))

MIRRORS = Gauge("mirroring_mirrors", "Active mirrors, neither paused nor removed, by status.", ("status",))
LAST_OUTCOMES = Gauge(
    "mirroring_mirrors_last_outcome", "Active mirrors by how their last import ended.", ("outcome",)
)
HARD_FAILED = Gauge(
    "mirroring_mirrors_hard_failed", "Active mirrors that failed too often and wait for a person."
)
GIVEN_UP = Gauge(
    "mirroring_mirrors_given_up",
    "Active mirrors that wait for a person, by why: hard failed, paused for a credential, archived.",
    ("why",),
)
HOSTS_COOLING = Gauge(
    "mirroring_hosts_cooling", "Upstream hosts that are left alone for a while, after failures."
)
MIRRORS_HELD_UP = Gauge(
    "mirroring_mirrors_overdue_of_cooling_hosts",
    "Mirrors that are due and wait for a host that is left alone.",
)
STALE = Gauge(
    "mirroring_mirrors_stale", "Active mirrors without a successful check for longer than the longest delay."
)
CREDENTIALS = Gauge(
    "mirroring_credentials", "Credentials in use by how far their end is: none, far, soon, past.", ("expiry",)
)
CREDENTIALS_REFUSED = Gauge(
    "mirroring_credentials_refused", "Credentials in use that their upstream refused when last tried."
)
CREDENTIALS_UNOPENED = Gauge(
    "mirroring_credentials_unopened", "Credentials in use whose key is not in the list of keys."
)
PAUSED = Gauge("mirroring_mirrors_paused", "Mirrors that somebody paused.")
REMOVED = Gauge("mirroring_mirrors_removed", "Removed mirrors that can still be restored.")
OVERDUE = Gauge("mirroring_mirrors_overdue", "Mirrors that are due and wait for a slot.")
OLDEST_OVERDUE = Gauge(
    "mirroring_oldest_overdue_seconds", "How long the longest-waiting mirror has been due.", unit="seconds"
)
RECENT_ATTEMPTS = Gauge(
    "mirroring_attempts_last_hour", "Imports that ended within the last hour, by outcome.", ("outcome",)
)

MAX_CAPACITY = Gauge("mirroring_capacity_max", "The setting mirror_max_capacity.")
CAPACITY = Gauge("mirroring_capacity_in_force", "Imports that may be in flight now.")
SLOTS_USED = Gauge("mirroring_slots_used", "Leases held in a pool of the job tracker.", ("pool",))
ANNOUNCED_SLOTS = Gauge("mirroring_slots_announced", "Import slots that live workers announce.")
TRACKER_READY = Gauge(
    "mirroring_tracker_ready", "1 if the tracker's counts can be trusted: rebuilt after a loss."
)
WORKERS = Gauge("mirroring_workers", "Live workers that announce import slots.")
FLAGS = Gauge("mirroring_feature_flag", "1 if a feature flag is on.", ("flag",))
EVENTS = Counter(
    "mirroring_events", "What the scheduler counted since Redis last lost its memory.", ("event",)
)

ALL: tuple[Gauge | Counter, ...] = tuple(
    value for value in list(vars().values()) if isinstance(value, Gauge | Counter)
)


@dataclass(eq=False)
class Readings:
    """The samples of one scrape, in the order in which they were taken."""

    _families: dict[str, Metric] = field(default_factory=dict)

    def put(self, metric: Gauge | Counter, value: float, *labels: str) -> None:
        """Note one sample."""
        family = self._families.setdefault(metric.name, metric.family())
        family.add_metric(labels, value)  # type: ignore[attr-defined]

    def put_all(self, metric: Gauge | Counter, values: Mapping[str, float]) -> None:
        """Note one sample for each value of a metric's only label."""
        for label in sorted(values):
            self.put(metric, values[label], label)

    def collect(self) -> Iterable[Metric]:
        """Return the samples, as prometheus_client asks for them."""
        return list(self._families.values())
