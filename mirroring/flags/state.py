"""What a flag's row says: one meaning at a time, and how a change moves it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet

from mirroring.flags.actors import Actor, within_share
from mirroring.flags.definition import Definition
from mirroring.flags.models import Flag
from mirroring.models.prepared import PreparedSelect


@dataclass(frozen=True)
class State:
    """On for all, on for some, or off; `is_set` is false where there is no row and the default holds."""

    is_set: bool = False
    on: bool = False
    percentage: Decimal | None = None
    actors: frozenset[str] = frozenset()
    on_until: datetime | None = None
    on_since: datetime | None = None

    @classmethod
    def of(cls, row: Flag | None, *, definition: Definition, now: datetime | None) -> "State":
        """Return what a row says now. One whose lease has ended says off, whatever else stands in it.

        Without a time no lease can be told from one that has ended, so then it says off, too.
        """
        if row is None:
            return cls(on=definition.default)
        if row.on_until is not None and (now is None or row.on_until <= now):
            return cls(is_set=True)
        return cls(
            is_set=True,
            on=bool(row.active),
            percentage=row.percentage,
            actors=frozenset(row.actors),
            on_until=row.on_until,
            on_since=row.on_since,
        )

    @property
    def for_all(self) -> bool:
        """Say whether it is on for everybody."""
        return self.on or self.percentage == 100

    @property
    def for_some(self) -> bool:
        """Say whether it is on for somebody, and not for everybody."""
        return not self.for_all and bool(self.percentage or self.actors)

    def is_on(self, name: str, actor: Actor | None) -> bool:
        """Say whether it is on for an actor; without one, whether it is on for everybody."""
        if self.for_all or actor is None:
            return self.for_all
        listed = actor.listed(self.actors)
        return listed or (self.percentage is not None and within_share(name, actor, self.percentage))

    def exceeds(self, other: "State") -> bool:
        """Say whether it is on for anybody for whom the other is not."""
        if other.for_all or not (self.for_all or self.for_some):
            return False
        more = (self.percentage or 0) > (other.percentage or 0)
        return self.for_all or more or bool(self.actors - other.actors)

    def words(self) -> str:
        """Return it in words: on, off, or for whom."""
        return in_words(self.as_json())

    def as_json(self) -> dict[str, Any]:
        """Return it as the audit keeps it."""
        return {
            "set": self.is_set,
            "on": self.on,
            "percentage": None if self.percentage is None else f"{self.percentage.normalize():f}",
            "actors": sorted(self.actors),
            "on_until": self.on_until.isoformat() if self.on_until else None,
        }


def in_words(kept: Mapping[str, Any]) -> str:
    """Return a state, as the audit keeps it, in words; also that of the change freeze."""
    if "freeze" in kept:
        return f"frozen: {kept['freeze']['reason']}" if kept["freeze"] else "no freeze"
    if kept["on"]:
        return "on"
    share, listed = kept["percentage"], len(kept["actors"])
    parts = [f"{share} % of actors"] if share not in {None, "0"} else []
    parts += [f"{listed} actor{'s' if listed > 1 else ''}"] if listed else []
    return f"on for {' and '.join(parts)}" if parts else "off"


def states(definitions: list[Definition], *, now: datetime | None) -> Mapping[str, State]:
    """Return the state of each flag, read in one query."""
    names = tuple(made.name for made in definitions)
    rows = {row.name: row for row in _named(Flag.objects.all(), names=names)}
    return {made.name: State.of(rows.get(made.name), definition=made, now=now) for made in definitions}


@PreparedSelect
def _named(rows: QuerySet[Flag], *, names: tuple[str, ...]) -> QuerySet[Flag]:
    return rows.filter(name__in=names).order_by()
