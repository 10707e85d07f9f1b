"""Changing flags: the one function behind every way in. It asks the gates, writes the row and the audit."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from mirroring.flags import audit, clock, gates, moves, registry
from mirroring.flags.definition import Definition
from mirroring.flags.gates import Judgement, Outcome, Proposal
from mirroring.flags.models import Flag
from mirroring.flags.moves import Change, Refused
from mirroring.flags.state import State, in_words
from mirroring.models.flag_change import FlagChange

__all__ = ["Change", "FlagRefused", "Origin", "change_flag", "delete_flag", "renew_lease", "set_flag"]

logger = logging.getLogger(__name__)

TRIES = 5
"""Flags that change this often while the gates are asked are not the time for another change."""

FlagRefused = Refused


class Origin(StrEnum):
    """Which way in a change took."""

    ADMIN = "admin"
    CLI = "cli"
    CHATOPS = "chatops"
    API = "api"
    ROLLOUT = "rollout"
    SYSTEM = "system"


@dataclass(frozen=True)
class _Actor:
    by: str
    origin: Origin
    why: str
    snapshot: Mapping[str, Any]


_snapshots: list[Callable[[], Mapping[str, Any]]] = []


def take_snapshots_from(provider: Callable[[], Mapping[str, Any]]) -> None:
    """Let changes carry the metrics of their moment. Registered from above, where they are sampled."""
    _snapshots[:] = [provider]


_listeners: list[Callable[[FlagChange], None]] = []


def tell(listener: Callable[[FlagChange], None]) -> None:
    """Have a callable told of every change. Registered from above."""
    _listeners[:] = [listener]


def _snapshot() -> Mapping[str, Any]:
    """Return the metrics of the moment; none where they cannot be had, for that must not keep a flag on."""
    try:
        return next((provider() for provider in _snapshots), {})
    except Exception:
        logger.exception("a flag is changed without a snapshot of the metrics")
        return {}


def change_flag(
    name: str,
    change: Change,
    *,
    by: str,
    origin: Origin,
    why: str,
    overrides: frozenset[str] = frozenset(),
    snapshot: Mapping[str, Any] | None = None,
    along: Callable[[State], object] | None = None,
) -> FlagChange:
    """Change a flag and record it, both or neither. Turning off is never refused; FlagRefused says what to do.

    The gates may ask other servers, so they are asked outside of the transaction, and again if any flag has
    changed meanwhile. `along`: called with the state before, in the transaction; what it raises undoes the change.
    """
    definition = _definition(name, change)
    _check_overrides(overrides)
    actor = _Actor(by, origin, why, _snapshot() if snapshot is None else snapshot)
    for _ in range(TRIES):
        version, judged = audit.latest(), _judge(definition, change, overrides, actor)
        written = _write(definition, change, judged, version=version, actor=actor, along=along)
        if written is not None:
            _log(written)
            _tell(written)
            return written
    raise Refused(f"{name} was not changed: flags are being changed by others all the time. Try again")


def delete_flag(name: str, *, by: str, origin: Origin = Origin.SYSTEM, why: str = "") -> bool:
    """Forget what was set, so that the default of the definition holds again. False if nothing was set."""
    return bool(change_flag(name, Change(forget=True), by=by, origin=origin, why=why).before["set"])


def set_flag(
    name: str, *, on: bool, by: str, force: bool = False, origin: Origin = Origin.SYSTEM
) -> FlagChange:
    """Turn a flag on or off for all; `force` overrides every gate."""
    overrides = frozenset({gates.EVERY_GATE} if force else ())
    return change_flag(name, Change(on=on), by=by, origin=origin, why="", overrides=overrides)


def renew_lease(name: str, until: datetime, *, now: datetime) -> bool:
    """Let a flag stay on until then. False if its lease has ended, or it has none: then nothing is changed.

    Not audited: the entry that turned it on says that it is on by lease.
    """
    leased: QuerySet[Flag] = QuerySet(Flag).filter(name=name, on_until__gt=now)
    return leased.update(on_until=until) == 1


def _definition(name: str, change: Change) -> Definition:
    """Return the definition of a flag. A row that none stands behind any more may be forgotten, and nothing else."""
    try:
        return registry.definition(name)
    except registry.UnknownFlag:
        if not change.forget or not Flag.objects.filter(name=name).exists():
            raise
        return registry.departed(name)


def _check_overrides(overrides: frozenset[str]) -> None:
    if unknown := sorted(overrides - {*gates.names(), gates.EVERY_GATE}):
        known = ", ".join([*gates.names(), gates.EVERY_GATE])
        raise Refused(f"There is no gate named {', '.join(unknown)}. Gates: {known}")


def _judge(
    definition: Definition, change: Change, overrides: frozenset[str], actor: _Actor
) -> list[Judgement]:
    """Ask the gates where the change turns on; raise FlagRefused if one is in the way, or in production no reason."""
    now = _moment(change)
    before = _read(definition, now)[1]
    after = moves.apply(before, change, definition=definition, now=now)
    if not after.exceeds(before):
        return []
    if settings.FLAG_REASON_NEEDED and not actor.why.strip():
        raise Refused(
            f"{definition.name} was not turned on: in {settings.ENVIRONMENT} that takes a reason, for the audit. "
            "Say why (--why TEXT; in the form the field above the buttons; over the API the field why)"
        )
    judged = gates.judge(Proposal(definition, before, after, now), overrides=overrides)
    if refused := [one for one in judged if one.outcome is Outcome.REFUSED]:
        raise Refused(_refusal(definition.name, refused), judged=judged)
    return judged


def _refusal(name: str, refused: list[Judgement]) -> str:
    """Say what is in the way, each thing once though several gates found it, and how to go on."""
    gates_of: dict[str, list[str]] = {}
    for one in refused:
        gates_of.setdefault(one.checked, []).append(f"gate {one.gate}")
    reasons = "; ".join(f"{checked} ({', '.join(found)})" for checked, found in gates_of.items())
    flags = " ".join(f"--override {one.gate}" for one in refused)
    return f"{name} was not turned on: {reasons}. See to it, or go on with {flags}"


def _moment(change: Change) -> datetime:
    """Return the time of a change. Turning off waits for nobody to tell it."""
    return clock.at_once() if change.on is False else clock.present()


def _read(definition: Definition, now: datetime) -> tuple[Flag | None, State]:
    row = Flag.objects.filter(name=definition.name).first()
    return row, State.of(row, definition=definition, now=now)


@transaction.atomic
def _write(
    definition: Definition,
    change: Change,
    judged: list[Judgement],
    *,
    version: int,
    actor: _Actor,
    along: Callable[[State], object] | None,
) -> FlagChange | None:
    """Write the row and its entry; None, and nothing is written, if a flag has changed since `version`."""
    audit.lock()
    now = _moment(change)
    row, before = _read(definition, now)
    after = moves.apply(before, change, definition=definition, now=now)
    if audit.latest() != version or (after.exceeds(before) and not judged):
        return None
    _keep(row or Flag(name=definition.name), after, by=actor.by)
    entry = audit.append(
        at=now,
        flag=definition.name,
        by=actor.by,
        origin=str(actor.origin),
        why=actor.why,
        before=before.as_json(),
        after=after.as_json(),
        overrides=[one.gate for one in judged if one.outcome is Outcome.OVERRIDDEN],
        gates=[one.as_json() for one in judged],
        snapshot=audit.storable(actor.snapshot),
    )
    if along:
        along(before)
    return entry


def _keep(row: Flag, state: State, *, by: str) -> None:
    if not state.is_set:
        if row.pk is not None:
            row.delete()  # The object's own, not the queryset's: that one bypasses waffle's bookkeeping.
        return
    row.active, row.percentage, row.actors = state.on, state.percentage, sorted(state.actors)
    row.on_until, row.on_since, row.changed_by = state.on_until, state.on_since, by
    row.save()


def _tell(entry: FlagChange) -> None:
    for listener in _listeners:
        try:
            listener(entry)
        except Exception:
            logger.exception("a change of a flag was not told")


def _log(entry: FlagChange) -> None:
    """Say it in the log, with the digest: a log kept elsewhere shows if the audit is cut."""
    fields = {
        "flag": entry.flag,
        "before": in_words(entry.before),
        "after": in_words(entry.after),
        "by": entry.by,
    }
    more = {
        "origin": entry.origin,
        "overrides": entry.overrides,
        "entry": entry.sequence,
        "digest": entry.digest,
    }
    logger.info("flag changed", extra=fields | more)
