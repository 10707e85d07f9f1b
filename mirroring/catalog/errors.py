"""Why an act was refused. Every message is a line for a person: what is wrong, and what to do next."""

from collections.abc import Sequence
from dataclasses import dataclass


class CatalogError(ValueError):
    """An act was refused, and nothing was changed."""


class Invalid(CatalogError):
    """A URL, a name or a pattern cannot be used."""


class NameTaken(CatalogError):
    """Another mirror or group has that name."""


class AlreadyMirrored(NameTaken):
    """The mirror asked for exists, with the same name and URL."""


class Unknown(CatalogError):
    """There is no mirror, group or token of that name."""


class Ambiguous(CatalogError):
    """Several mirrors have that name, in different groups."""


class NotNow(CatalogError):
    """The act does not fit the state that the mirror is in."""


class NothingToChange(CatalogError):
    """An edit names no change."""


class GroupInUse(CatalogError):
    """A group that owns mirrors cannot be removed."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with one line of a list."""

    line: int
    text: str


class BadList(CatalogError):
    """Lines of a list cannot be used; nothing of it was added."""

    SHOWN = 20

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        lines = [f"Line {problem.line}: {problem.text}" for problem in self.problems[: self.SHOWN]]
        if len(self.problems) > self.SHOWN:
            lines.append(f"{len(self.problems) - self.SHOWN} more lines cannot be used either.")
        super().__init__("\n".join(lines))
