"""Upstreams of which some change before each turn; who misses one of the changes voids the row."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random

from bench.harness.measure import Contender, require
from bench.harness.upstreams import Served


@dataclass
class Changing:
    """The upstreams, and which of them changed for the turn that is to come. Every contender sees the same change."""

    served: Served
    changed: float
    dice: Random
    rounds: int = 0
    hidden: set[int] = field(default_factory=set)

    def change_for(self, turn: int) -> None:
        """Change some of the upstreams, once for all contenders of a turn."""
        if turn > self.rounds:
            self.rounds = turn
            numbers = range(len(self.served.urls))
            self.hidden = set(self.dice.sample(numbers, max(1, round(len(numbers) * self.changed))))
            self.served.push(sorted(self.hidden))

    def require_found(self, head_of: Callable[[int], str]) -> None:
        """Raise Void unless every mirror holds what its upstream holds."""
        numbers = range(len(self.served.urls))
        missed = [number for number in numbers if head_of(number) != self.served.head(number)]
        require(
            not missed,
            otherwise=f"{len(missed)} mirrors are not as their upstreams; {len(self.hidden)} changed",
        )

    def contender(self, name: str, run: Callable[[], object], head_of: Callable[[int], str]) -> Contender:
        """Return a contender that has to find what changed."""
        turns = count(1)
        return Contender(
            name,
            run,
            before=lambda: self.change_for(next(turns)),
            check=lambda: self.require_found(head_of),
        )
