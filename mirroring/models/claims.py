"""Claims: the right to import one mirror once. Taken in one statement, fairly between hosts; renewed; given back."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from django.db import connections, models
from django.db.models import Case, F, Q, Value, When
from django.db.models.expressions import Combinable, RawSQL

from mirroring.models import claim_sql
from mirroring.rules.cadence import FIRST_HEAD_START, URGENT_HEAD_START
from mirroring.rules.hosts import UNBOUNDED, Bounds
from mirroring.rules.states import AT_REST

if TYPE_CHECKING:
    from mirroring.models.import_state import ImportState

    _ImportStates = models.QuerySet[ImportState]
else:
    _ImportStates = models.QuerySet

PAIRS_PER_STATEMENT = 500


class DueLine(StrEnum):
    """The columns that say what is due; each has its index with the host before it and the mirror behind it."""

    IMPORT = "import_due_at"


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to import one mirror once: valid while the row's epoch is this one and its claim has not expired."""

    mirror_id: int
    epoch: int
    host_id: int = field(default=0, compare=False)
    """0 where it is not known: messages do not carry it."""

    @property
    def token(self) -> str:
        """Return the member by which the job tracker knows this claim."""
        return f"{self.mirror_id}:{self.epoch}"

    @classmethod
    def of_token(cls, token: str) -> Self:
        """Return the claim that a tracker member stands for."""
        mirror_id, _, epoch = token.partition(":")
        return cls(mirror_id=int(mirror_id), epoch=int(epoch))


def _chunks(claims: Sequence[Claim]) -> Iterable[Sequence[Claim]]:
    return (claims[at : at + PAIRS_PER_STATEMENT] for at in range(0, len(claims), PAIRS_PER_STATEMENT))


def _pairs(claims: Sequence[Claim]) -> tuple[str, list[int]]:
    numbers = [number for claim in claims for number in (claim.mirror_id, claim.epoch)]
    return ", ".join(["(%s, %s)"] * len(claims)), numbers


def due_time() -> Case:
    """Return the expression for `import_due_at` of an active row at rest; an urgent one keeps its place among those."""
    urgent = When(urgent=True, then=F("next_execution_at") - Value(URGENT_HEAD_START))
    first = When(
        Q(last_successful_update_at=None, retry_count=0),
        then=F("next_execution_at") - Value(FIRST_HEAD_START),
    )
    return Case(urgent, first, default=F("next_execution_at"), output_field=models.DateTimeField())


def if_active(due: Combinable) -> Case:
    """Return the expression for a due time that only an active row has."""
    return Case(When(active=False, then=Value(None)), default=due, output_field=models.DateTimeField())


def _in_turn(rows: Iterable[tuple[Any, ...]]) -> list[Claim]:
    """Return claims in the order in which they are to be served: one of each host, the urgent before all."""
    turns: dict[int, int] = {}
    placed = []
    lines = sorted((not urgent, due, mirror, epoch, host) for mirror, epoch, host, urgent, due in rows)
    for later, due, mirror, epoch, host in lines:
        turns[host] = turns.get(host, 0) + 1
        placed.append((later, turns[host], due, mirror, epoch, host))
    return [Claim(mirror, epoch, host) for *_, mirror, epoch, host in sorted(placed)]


class ClaimsQuerySet(_ImportStates):
    """Claims. Each change is one guarded UPDATE, so that of two that race only one gets the row."""

    def claim_due(
        self,
        limit: int,
        *,
        now: datetime,
        until: datetime,
        bounds: Bounds = UNBOUNDED,
        charges: bool = True,
        line: DueLine = DueLine.IMPORT,
    ) -> list[Claim]:
        """Claim at most `limit` due mirrors in one statement, and return the claims in the order of their turns.

        Urgent mirrors go first; then hosts that hold the fewest claims, and of each host the longest-waiting. A host
        that cools, or holds all that it may, is left out, however many of its mirrors are due. `charges`: what is
        queued before the door counts as held.
        """
        if limit <= 0:
            return []
        connection = connections[self.db]
        at = connection.ops.adapt_datetimefield_value
        values = {
            "now": at(now),
            "until": at(until),
            "urgent": at(now - URGENT_HEAD_START / 2),
            "first": FIRST_HEAD_START.total_seconds(),
            "limit": limit,
            "start": bounds.start,
            "ceiling": bounds.ceiling,
            "adaptive": bounds.adaptive,
            "queued": charges,
        }
        with connection.cursor() as cursor:
            cursor.execute(claim_sql.statement(connection.vendor, line), values)
            return _in_turn(cursor.fetchall())

    def renew(self, claims: Sequence[Claim], *, now: datetime, until: datetime) -> set[Claim]:
        """Extend claims whose mirrors are in flight, and return those that were still held."""
        connection = connections[self.db]
        at = connection.ops.adapt_datetimefield_value
        held: set[Claim] = set()
        for chunk in _chunks(claims):
            pairs, numbers = _pairs(chunk)
            with connection.cursor() as cursor:
                cursor.execute(claim_sql.RENEW.format(pairs=pairs), [at(until), at(now), *numbers])
                held |= {Claim(mirror_id=row[0], epoch=row[1]) for row in cursor.fetchall()}
        return held

    def shorten(self, *, beyond: datetime, until: datetime) -> int:
        """Have claims that would last beyond a time end at an earlier one, and return how many there were."""
        return self.filter(claim_expires_at__gt=beyond).update(claim_expires_at=until)

    def give_back(self, claims: Sequence[Claim], *, now: datetime) -> int:
        """Make claimed mirrors that are not in flight due again, and return how many were."""
        return sum(
            self._among(chunk)
            .filter(status__in=AT_REST, claim_expires_at__isnull=False)
            .update(import_due_at=if_active(due_time()), claim_expires_at=None, claimed_at=None)
            for chunk in _chunks(claims)
        )

    def _among(self, claims: Sequence[Claim]) -> Self:
        pairs, numbers = _pairs(claims)
        within = RawSQL(f"(mirror_id, epoch) IN (VALUES {pairs})", numbers, models.BooleanField())  # noqa: S611
        return self.filter(within)
