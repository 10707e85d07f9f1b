"""Reading flags. There is no cache: a flip is seen by the next read of every process."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from mirroring.flags import clock, registry
from mirroring.flags.actors import Actor
from mirroring.flags.state import State, states


def read_all(now: datetime | None = None) -> Mapping[str, bool]:
    """Read all flags in one query, so that a run decides on one state of them.

    True: on for everybody. `now` is the run's clock, which is that of all leases; without it that clock is asked.
    """
    read = states(registry.definitions(), now=now or clock.now())
    return {name: state.for_all for name, state in read.items()}


@dataclass(frozen=True)
class Reading:
    """One flag, read once: a job asks this as often as it likes and gets one answer for each actor."""

    name: str
    state: State

    def is_on(self, actor: Actor | None = None) -> bool:
        """Say whether the flag is on for an actor; without one, for everybody."""
        return self.state.is_on(self.name, actor)


def read(name: str, *, now: datetime | None) -> Reading:
    """Read one flag; raise UnknownFlag. Without a time one that is on by lease is off."""
    definition = registry.definition(name)
    return Reading(definition.name, states([definition], now=now)[definition.name])


def is_on(name: str, *, actor: Actor | None, now: datetime | None) -> bool:
    """Read one flag for one actor; raise UnknownFlag."""
    return read(name, now=now).is_on(actor)
