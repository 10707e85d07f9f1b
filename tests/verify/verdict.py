"""What a verifier says in the end: one line, and more for who wants to know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

SHOWN = 4
"""So many complaints are in the line; the others are counted."""


@dataclass(frozen=True)
class Verdict:
    """The figures of a run, and what is wrong with it."""

    run: str
    figures: dict[str, int | float | str]
    problems: list[str]
    details: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Tell whether the run showed what it should."""
        return not self.problems

    def line(self) -> str:
        """Return the last line of the run."""
        told = " ".join(f"{name}={value}" for name, value in self.figures.items())
        if self.ok:
            return f"{self.run} ok: {told}"
        more = f"; and {len(self.problems) - SHOWN} more" if len(self.problems) > SHOWN else ""
        what = "; ".join(self.problems[:SHOWN]).replace("\n", " ")
        return f"{self.run} FAILED: {what}{more}" + (f" ({told})" if told else "")
