"""The steps of a rollout. Pure: percentages for a flag by actor, environments plus bake time for a global one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

PERCENTAGES = (1, 10, 25, 50, 75, 100)
HERE = "here"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class BadSteps(ValueError):
    """The steps or the interval cannot be used; the message says what can."""


class StepKind(StrEnum):
    """What a step does."""

    PERCENTAGE = "percentage"
    ENVIRONMENT = "environment"


@dataclass(frozen=True)
class Step:
    """One step; it is left after one interval with the guards good."""

    kind: StepKind
    value: str

    def __str__(self) -> str:
        return f"{self.value} %" if self.kind is StepKind.PERCENTAGE else f"on, {self.value}"

    @property
    def percentage(self) -> int:
        """Return the share of actors of a percentage step."""
        return int(self.value)


def duration(text: str) -> timedelta:
    """Read `90s`, `15m`, `2h` or `1d`."""
    match = re.fullmatch(r"(\d+)([smhd])", text.strip())
    if not match or int(match[1]) == 0:
        raise BadSteps(f"{text!r} is no duration: write 90s, 15m, 2h or 1d")
    return timedelta(seconds=int(match[1]) * UNITS[match[2]])


def steps(given: Sequence[str], *, by_actor: bool, environments: Sequence[str] = ()) -> list[Step]:
    """Return the steps that were asked for, or the usual ones: percentages, or every environment and this one last."""
    if by_actor:
        return _percentages(given)
    known = [*environments, HERE]
    wanted = list(given) or known
    for name in wanted:
        if name.rstrip("%").isdigit():
            raise BadSteps(f"{name}: this flag is on or off for all, so a share of actors has no meaning")
        if name not in known:
            raise BadSteps(f"{name}: no such environment; known are {', '.join(known)}")
    if len(set(wanted)) != len(wanted):
        raise BadSteps("An environment is named twice")
    if HERE in wanted[:-1]:
        last = ",".join([*(name for name in wanted if name != HERE), HERE])
        raise BadSteps(
            f"{HERE} comes last, as its lease is renewed in its own step only: write --steps {last}"
        )
    return [Step(StepKind.ENVIRONMENT, name) for name in wanted]


def _percentages(given: Sequence[str]) -> list[Step]:
    try:
        shares = [int(text.rstrip("%")) for text in given] or list(PERCENTAGES)
    except ValueError:
        raise BadSteps("The steps of this flag are percentages: 1,10,25,50,75,100") from None
    if shares != sorted(set(shares)) or shares[0] < 1 or shares[-1] > 100:
        raise BadSteps("Percentages rise from step to step, between 1 and 100")
    return [Step(StepKind.PERCENTAGE, str(share)) for share in shares]
