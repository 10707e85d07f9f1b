"""The audit: every change of a flag, each entry sealed onto the one before it.

An entry's digest covers its fields and the digest before it, so an entry that is changed, taken out or put in breaks
the chain for everybody who has an export. The seal is the digest under this deployment's secret key: whoever can
write the database but not read the key cannot make a new chain. Cutting the end off shows at the flags' rows.
"""

import hashlib
import hmac
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import connection

from mirroring.flags import registry
from mirroring.flags.state import State, states
from mirroring.models.change_freeze import ChangeFreeze
from mirroring.models.flag_change import FlagChange

BEGINNING = "0" * 64
FREEZE = "*"
"""What stands in place of a flag where all are meant: a change freeze began or ended."""

_LOCK = 0x666C6167  # "flag"
_COVERED = ("sequence", "flag", "by", "origin", "why", "before", "after", "overrides", "gates", "snapshot")


@dataclass(frozen=True)
class Fault:
    """Where the audit and what it is about part."""

    sequence: int | None
    text: str


@dataclass(frozen=True)
class Verdict:
    """What a check of the whole audit found. Keep `head` elsewhere: an audit cut short no longer has it."""

    entries: int
    head: str
    faults: tuple[Fault, ...]


def lock() -> None:
    """Let one writer in at a time, until the transaction ends."""
    if connection.vendor == "postgresql":  # SQLite's transactions are IMMEDIATE: one writer as it is.
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def latest() -> int:
    """Return the number of the newest entry, 0 before the first: the version of all flags."""
    return FlagChange.objects.values_list("sequence", flat=True).first() or 0


def append(**fields: Any) -> FlagChange:
    """Add an entry. Inside the transaction of the change, after `lock`."""
    last = FlagChange.objects.first()
    entry = FlagChange(
        sequence=last.sequence + 1 if last else 1,
        previous=last.digest if last else BEGINNING,
        **fields,
    )
    entry.digest = digest(entry)
    entry.seal = _seal(entry.digest, key=settings.SECRET_KEY)
    entry.save()
    return entry


def digest(entry: FlagChange) -> str:
    """Return the digest of an entry: SHA-256 over its fields as canonical JSON, and the digest before it."""
    body = {name: getattr(entry, name) for name in _COVERED}
    body |= {"at": entry.at.astimezone(UTC).isoformat(), "previous": entry.previous}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def as_json(entry: FlagChange) -> dict[str, Any]:
    """Return an entry as it is exported: enough to compute its digest again."""
    body = {name: getattr(entry, name) for name in _COVERED}
    at = entry.at.astimezone(UTC).isoformat()
    return body | {"at": at, "previous": entry.previous, "digest": entry.digest, "seal": entry.seal}


def storable(value: Any) -> Any:
    """Return what every database gives back as it was: whole numbers as such, and nothing that JSON does not know."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case float() if value.is_integer():
            return int(value)
        case Mapping():
            return {str(name): storable(inner) for name, inner in value.items()}
        case list() | tuple():
            return [storable(inner) for inner in value]
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)


def export() -> Iterator[str]:
    """Yield the whole audit as JSON lines, oldest first."""
    for entry in FlagChange.objects.order_by("sequence").iterator(chunk_size=500):
        yield json.dumps(as_json(entry), sort_keys=True)


def verify(*, head: str = "") -> Verdict:
    """Check every entry, the flags' rows against it, and that a head noted earlier is still in it."""
    faults: list[Fault] = []
    before, count, heads = BEGINNING, 0, set[str]()
    after: dict[str, dict[str, Any]] = {}
    for entry in FlagChange.objects.order_by("sequence").iterator(chunk_size=500):
        count += 1
        faults += [Fault(entry.sequence, text) for text in _faults(entry, count, before)]
        before, after[entry.flag] = entry.digest, entry.after
        heads.add(entry.digest)
    if head and head not in heads:
        faults.append(
            Fault(None, f"the entry with the digest {head} is gone: the audit was cut or rewritten")
        )
    faults += [Fault(None, text) for text in _rows_that_differ(after)]
    return Verdict(count, before, tuple(faults))


def _faults(entry: FlagChange, number: int, previous: str) -> Iterator[str]:
    if entry.sequence != number:
        yield f"expected entry {number}: entries were taken out or put in before it"
    if entry.previous != previous:
        yield "it does not follow the entry before it"
    if entry.digest != digest(entry):
        yield "its fields were changed after it was written"
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    if not any(hmac.compare_digest(entry.seal, _seal(entry.digest, key=key)) for key in keys):
        yield "it was sealed with another key: written by somebody else, or SECRET_KEY was changed"


def _rows_that_differ(after: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Compare what the rows say with the last entry of each flag. A lease is renewed without an entry."""
    always = datetime.min.replace(tzinfo=UTC)  # Also a lease that has ended is compared as it was written.
    rows = states(registry.definitions(), now=always)
    for name, state in rows.items():
        expected = after.get(name) or State(on=registry.definition(name).default).as_json()
        if _comparable(state.as_json()) != _comparable(expected):
            yield f"the row of {name} says other than its last entry: it was written past the audit"

    freeze = freeze_as_json(ChangeFreeze.current())
    if freeze != after.get(FREEZE, freeze_as_json(None)):
        yield "the change freeze is other than its last entry says: it was written past the audit"


def freeze_as_json(held: ChangeFreeze | None) -> dict[str, Any]:
    """Return a freeze, or that there is none, as the audit keeps it."""
    if held is None:
        return {"freeze": None}
    at = held.began_at.astimezone(UTC).isoformat()
    return {"freeze": {"reason": held.reason, "by": held.began_by, "at": at}}


def _comparable(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != "on_until"}


def _seal(text: str, *, key: str | bytes) -> str:
    secret = key.encode() if isinstance(key, str) else key
    return hmac.new(hashlib.sha256(b"flag audit\0" + secret).digest(), text.encode(), "sha256").hexdigest()
