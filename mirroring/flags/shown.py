"""A flag as people and programs are shown it, the same by every way in."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from mirroring.flags import actors, registry
from mirroring.flags.definition import Definition
from mirroring.flags.models import Flag
from mirroring.flags.state import State
from mirroring.models.flag_change import FlagChange


def every(*, now: datetime | None) -> list[dict[str, Any]]:
    """Return all defined flags, in the order of their rollout."""
    rows = {row.name: row for row in Flag.objects.all()}
    return [_shown(made, rows.get(made.name), now) for made in registry.definitions()]


def one(name: str, *, now: datetime | None) -> dict[str, Any]:
    """Return one flag; raise UnknownFlag."""
    made = registry.definition(name)
    return _shown(made, Flag.objects.filter(name=name).first(), now)


def without_effect(flags: list[dict[str, Any]]) -> list[str]:
    """Return a line for each flag that is on while what it requires is off."""
    values = {flag["name"]: flag["value"] for flag in flags}
    return [
        f"Note: {flag['name']} is on without {flag['requires']}, so it has no effect."
        for flag in flags
        if flag["value"] and flag["requires"] and not values[flag["requires"]]
    ]


def dropped(entry: FlagChange) -> list[str]:
    """Return a line for the share and the listed actors that a change has put out of force, if it has."""
    before, after = entry.before, entry.after
    if after["percentage"] or after["actors"] or not (before["percentage"] or before["actors"]):
        return []
    share = [f"{before['percentage']} % of actors"] if before["percentage"] else []
    parts = [*share, *map(actors.shown, before["actors"])]
    return [f"Note: no longer in force: {', '.join(parts)}."]


def _shown(made: Definition, row: Flag | None, now: datetime | None) -> dict[str, Any]:
    state = State.of(row, definition=made, now=now)
    return {
        "name": made.name,
        "value": state.for_all,
        "state": state.words(),
        "percentage": state.as_json()["percentage"],
        "actors": [actors.shown(actor) for actor in sorted(state.actors)],
        "on_until": state.on_until,
        "lapsed": bool(row and row.on_until and (now is None or row.on_until <= now)),
        "set": row is not None,
        "default": made.default,
        "requires": made.requires.flag if made.requires else None,
        "changed_by": row.changed_by if row else "",
        "changed_at": row.modified if row else None,
        "description": made.description,
        "type": str(made.type),
        "actor": str(made.actor),
        "owner": vars(made.owner),
        "introduced_by": made.introduced_by,
        "milestone": made.milestone,
        "intended_end": made.intended_end,
        "rollout_issue": made.rollout_issue,
    }


def table(flags: Sequence[Mapping[str, Any]]) -> str:
    """Return flags as lines for a terminal, a chat or grep."""
    rows = [("flag", "value", "set by", "requires")]
    rows += [(flag["name"], flag["state"], _who(flag), flag["requires"] or "-") for flag in flags]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _who(flag: Mapping[str, Any]) -> str:
    return flag["changed_by"] or ("-" if flag["set"] else "default")
