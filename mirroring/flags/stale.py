"""Flags that should be gone: the reminder that nobody has to remember."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from mirroring.flags import milestones, registry
from mirroring.flags.definition import Definition, FlagType
from mirroring.flags.milestones import milestone_number
from mirroring.flags.models import Flag
from mirroring.flags.state import State

SETTLED = timedelta(days=30)
"""On for all for so long, a flag has done its work."""


@dataclass(frozen=True)
class Stale:
    """One flag that should be gone, why, and whose it is."""

    flag: str
    reason: str
    owner: str


def report(*, now: datetime) -> list[Stale]:
    """Return the stale flags, and the rows that no definition stands behind."""
    rows = {row.name: row for row in Flag.objects.all()}
    known = registry.definitions()
    found = [
        Stale(made.name, reason, f"{made.owner.team}, {made.owner.channel}")
        for made in known
        for reason in _reasons(made, State.of(rows.get(made.name), definition=made, now=now), now)
    ]
    orphans = sorted(rows.keys() - {made.name for made in known})
    text = "its row was left behind: no definition has this name"
    return [*found, *(Stale(name, text, "nobody known") for name in orphans)]


def _reasons(made: Definition, state: State, now: datetime) -> Iterator[str]:
    if milestone_number(milestones.CURRENT) > milestone_number(made.intended_end):
        yield f"it was to end with milestone {made.intended_end}, and this is {milestones.CURRENT}"
    if made.type is not FlagType.OPS and state.on_since and now - state.on_since > SETTLED:
        yield f"it has been on for all since {state.on_since:%Y-%m-%d}: make it permanent and clean it up"
