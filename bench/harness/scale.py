"""How large a run is: smoke for correctness, quick for a look, full for the table."""

from dataclasses import dataclass
from typing import Literal, TypeVar

T = TypeVar("T")
Size = Literal["smoke", "quick", "full"]


@dataclass(frozen=True)
class Scale:
    """The size of a run, and the seed of everything that is chosen at random."""

    size: Size = "quick"
    seed: int = 1

    def pick(self, *, smoke: T, quick: T, full: T) -> T:
        """Return the value for this size."""
        return {"smoke": smoke, "quick": quick, "full": full}[self.size]

    @property
    def rounds(self) -> int:
        """Return how often each contender is measured."""
        return self.pick(smoke=1, quick=5, full=15)
