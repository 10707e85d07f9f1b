"""Measuring contenders in turns, so that what else the machine does hits all of them alike."""

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from statistics import median


class Void(Exception):
    """The measurement proves nothing: work was missed, done twice, or not done at all."""


def require(claim: object, *, otherwise: str) -> None:
    """Raise Void unless `claim` holds."""
    if not claim:
        raise Void(otherwise)


@dataclass(frozen=True)
class Cost:
    """What one turn took: seconds of wall clock, and CPU seconds of this process and the children that it reaped."""

    wall: float
    cpu: float


def _nothing() -> None:
    """Stand in for a step that a contender does not have."""


@dataclass(frozen=True)
class Contender:
    """One way of doing the work. Only `run` is measured; `check` raises Void where the work was not done.

    A `run` in another process may return the Cost that it has measured there.
    """

    name: str
    run: Callable[[], object]
    before: Callable[[], object] = _nothing
    check: Callable[[], object] = _nothing


@dataclass(frozen=True)
class Measured:
    """The turns of one contender; none of one that could not be run."""

    name: str
    turns: tuple[Cost, ...]

    @property
    def wall(self) -> float:
        """Return the median wall clock of a turn."""
        return median(turn.wall for turn in self.turns) if self.turns else 0.0

    @property
    def cpu(self) -> float:
        """Return the median CPU time of a turn."""
        return median(turn.cpu for turn in self.turns) if self.turns else 0.0


def in_turns(contenders: Sequence[Contender], *, rounds: int, seed: int) -> list[Measured]:
    """Let every contender run once unmeasured and then once a round, in an order that the seed shuffles."""
    order, dice = list(contenders), Random(seed)
    turns: dict[str, list[Cost]] = {contender.name: [] for contender in contenders}
    for number in range(rounds + 1):
        dice.shuffle(order)
        for contender in order:
            cost = _turn(contender)
            if number:
                turns[contender.name].append(cost)
    return [Measured(contender.name, tuple(turns[contender.name])) for contender in contenders]


def _turn(contender: Contender) -> Cost:
    contender.before()
    cpu, wall = cpu_seconds(), time.perf_counter()
    said = contender.run()
    measured = Cost(wall=time.perf_counter() - wall, cpu=cpu_seconds() - cpu)
    try:
        contender.check()
    except Void as void:
        raise Void(f"{contender.name}: {void}") from None
    return said if isinstance(said, Cost) else measured


def cpu_seconds() -> float:
    """Return the CPU time of this process and of the children that it has waited for."""
    return _used(resource.RUSAGE_SELF) + children_cpu_seconds()


def children_cpu_seconds() -> float:
    """Return the CPU time of the children that this process has waited for."""
    return _used(resource.RUSAGE_CHILDREN)


def _used(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime
