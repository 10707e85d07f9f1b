"""Running the arms: the same load, the same dice, the flag off and on; and what the guards of the flag say to it."""

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from mirroring.flags import registry, usage
from mirroring.flags.models import Flag
from mirroring.rollout.controller import guards_of
from mirroring.rollout.guards import Guard, Judgement, Kind, Reading, Verdict, judge
from mirroring.rollout.measures import FLOORS, PER_MIRROR
from mirroring.rollout.rolling_back import RolloutRefused
from mirroring.rollout.simulate import database
from mirroring.rollout.simulate.fleet import Fleet
from mirroring.rollout.simulate.load import Load
from mirroring.rollout.simulate.log import PERIOD, Log, Observer
from mirroring.rollout.simulate.world import World
from mirroring.scheduler import dispatch, repair, scheduling
from mirroring.stack import valkey
from mirroring.tracker.round_trips import ROUND_TRIPS, TRACKER, RoundTrips
from mirroring.tracker.simulated import TimeTeller, tracker

PRODUCT = "product"
SIMULATED = (dispatch, scheduling, repair)
MIN_SAMPLES = 3
LISTENS_EVERY = timedelta(milliseconds=20)

Series = list[dict[str, float]]


@dataclass(frozen=True)
class Simulation:
    """What came out: a series for each position, and what each guard of the flag says to the difference."""

    flag: str
    arm: str
    load: Load
    off: Series
    on: Series
    judgements: list[Judgement]

    @property
    def bad(self) -> list[Judgement]:
        """Return what speaks against turning the flag on."""
        return [each for each in self.judgements if each.verdict is Verdict.BAD]


def simulate(flag: str, load: Load, *, arm: str = PRODUCT) -> Simulation:
    """Run the scheduler with a flag off and on, what it requires being on. Nothing of the service is touched."""
    registry.named(flag)
    _require_simulated(flag)
    required = _required(flag)
    with tempfile.TemporaryDirectory(prefix="simulation-") as folder, _silence():
        server = valkey.start(Path(folder) / "valkey")
        try:
            off = run(load, on=required, url=server.url, arm=PRODUCT)
            on = run(load, on=[*required, flag], url=server.url, arm=arm)
        finally:
            valkey.stop(server)
    return Simulation(flag, arm, load, off, on, [_judge(guard, off, on) for guard in guards_of(flag)])


def _require_simulated(flag: str) -> None:
    """Refuse a flag that the simulated code does not ask for: both arms would be the same."""
    simulated = usage.asked_in(*(Path(str(module.__file__)) for module in SIMULATED))
    if flag not in simulated:
        can = ", ".join(simulated) or "none"
        raise RolloutRefused(
            f"{flag} makes no difference to a simulation. Flags that can be simulated: {can}"
        )


def _required(flag: str) -> list[str]:
    requires = registry.definition(flag).requires
    return [*_required(requires.flag), requires.flag] if requires else []


def run(load: Load, *, on: Sequence[str], url: str, arm: str) -> Series:
    """Run one arm from its first tick to its end and return a value of each measure for every few seconds."""
    with ExitStack() as stack:
        stack.enter_context(database.throw_away())
        meter = stack.enter_context(ROUND_TRIPS.diverted())
        teller = TimeTeller(url)
        stack.callback(teller.close)
        teller.empty()
        told = _Told(teller, meter)
        world = World(told.tell)
        listen = told.listener(world.sleep)
        made = tracker(url, arm=arm, now=lambda: world.now, listen=listen)
        for name in on:
            Flag(name=name, active=True).save()
        log = Log(capacity=load.capacity)
        fleet = Fleet(load, world=world, tracker=made, log=log)
        observer = Observer(world, made, log, meter, told=lambda: told.calls)
        fleet.live()
        world.every(PERIOD, observer.look)
        world.sleep(load.seconds)
    return log.series


@dataclass
class _Told:
    """Tells the time, wakes who listens, and keeps out of the counts what that costs."""

    teller: TimeTeller
    meter: RoundTrips
    calls: int = 0

    def tell(self, now: datetime) -> None:
        with ROUND_TRIPS.of("clock"):
            self.teller.tell(now)
        self.calls += 1

    def listener(self, sleep: Callable[[float], None]) -> Callable[[timedelta], bool]:
        """Return what waits for a reminder in simulated time. It costs what the blocking command would: one call."""

        def listen(patience: timedelta) -> bool:
            self.meter.count(TRACKER)
            self.calls -= 1
            for _ in range(patience // LISTENS_EVERY):
                if self._is_reminded():
                    return True
                sleep(LISTENS_EVERY.total_seconds())
            return self._is_reminded()

        return listen

    def _is_reminded(self) -> bool:
        self.calls += 1
        with ROUND_TRIPS.of("clock"):
            return self.teller.is_reminded()


def _judge(guard: Guard, off: Series, on: Series) -> Judgement:
    readings = [
        Reading(values_of(guard, series), floor=FLOORS.get(guard.metric, 0.0)) for series in (off, on)
    ]
    return judge(guard, *readings, min_samples=MIN_SAMPLES)


def values_of(guard: Guard, series: Series) -> list[float]:
    """Return what a guard compares. A multiple of traffic is told over the whole run, per mirror."""
    if guard.kind is Kind.RATIO and guard.metric in PER_MIRROR:
        return [per_mirror(guard.metric, series)] * MIN_SAMPLES
    return [values[guard.metric] for values in series if guard.metric in values]


def per_mirror(metric: str, series: Series) -> float:
    """Return how much of it there was for each mirror that was scheduled."""
    spent = sum(values[metric] for values in series) * PERIOD
    return spent / max(1.0, sum(values["scheduled"] for values in series))


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the log of a service that does not exist out of the log of the one that does."""
    logger = logging.getLogger("mirroring.scheduler")
    before, logger.disabled = logger.disabled, True
    children = [
        logging.getLogger(f"mirroring.scheduler.{name}") for name in ("dispatch", "scheduling", "repair")
    ]
    kept = [child.disabled for child in children]
    for child in children:
        child.disabled = True
    try:
        yield
    finally:
        logger.disabled = before
        for child, was in zip(children, kept, strict=True):
            child.disabled = was
