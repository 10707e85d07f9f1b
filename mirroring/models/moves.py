"""The moves of ImportState: each is one guarded UPDATE, so that of two that race only one gets the row."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from django.db import connections, models
from django.db.models import Case, F, Q, Value, When

from mirroring.models import claim_sql
from mirroring.models import move_statements as statements
from mirroring.models.checks import ChecksQuerySet
from mirroring.models.claims import Claim, ClaimsQuerySet, due_time
from mirroring.rules.cadence import URGENT_HEAD_START
from mirroring.rules.states import IN_FLIGHT, Status

if TYPE_CHECKING:
    from mirroring.models.import_state import ImportState


class ImportStateQuerySet(ClaimsQuerySet, ChecksQuerySet):
    """Moves, and the questions that the scheduler asks."""

    # -- moves ----------------------------------------------------------------------------------------------------

    def held(self, claim: Claim, *, now: datetime) -> Self:
        """Narrow to the row of a claim that still stands."""
        return self.filter(mirror_id=claim.mirror_id, epoch=claim.epoch, claim_expires_at__gt=now)

    def wanted(self) -> Self:
        """Narrow to rows whose import nobody has called off."""
        return self.filter(active=True, cancel_requested=False)

    def expired(self, *, now: datetime) -> Self:
        """Narrow to the rows whose claim ran out: their holder is gone, or must stop."""
        return self.filter(claim_expires_at__lte=now)

    def schedule(self, claim: Claim, *, now: datetime, until: datetime) -> bool:
        """Move a claimed mirror to `scheduled`. False if the claim no longer stands or was used before."""
        return statements.schedule(self, **_named(claim), now=now, until=until) == 1

    def start(self, claim: Claim, *, now: datetime, until: datetime, unasked: bool = False) -> bool:
        """Move a scheduled mirror to `started`. False if the claim no longer stands or was used before.

        `unasked`: only if nobody has asked for an update since the last import began.
        """
        return statements.start(self, **_named(claim), now=now, until=until, unasked=unasked) == 1

    def settle(self, to: Status, *, now: datetime, **how: Any) -> bool:
        """Bring a mirror in flight to rest, due at `next_execution_at`. False if someone else has.

        `how`: as `at_rest` has it.
        """
        asked_at = now - URGENT_HEAD_START
        rows, changes = statements.at_rest(self, to=to, now=now, asked_at=asked_at, **how)
        return rows.update(**changes) == 1

    def settle_held(self, claim: Claim, to: Status, *, now: datetime, **how: Any) -> bool:
        """Do the same for the row of a claim, if that still stands."""
        return (
            statements.settle(self, **_named(claim), to=to, now=now, asked_at=now - URGENT_HEAD_START, **how)
            == 1
        )

    # -- what people ask for --------------------------------------------------------------------------------------

    def ask_now(self, *, now: datetime) -> int:
        """Put active mirrors before every backlog; one in flight runs again when it ends. Forgives hard failures."""
        in_line = Q(urgent=True, import_due_at__isnull=False)  # Asked for before: it keeps its place.
        at_rest = Q(claim_expires_at=None)
        return self.filter(active=True).update(
            urgent=True,
            hard_failed=False,
            retry_count=Case(
                When(hard_failed=True, then=Value(0)),
                default=F("retry_count"),
                output_field=models.PositiveIntegerField(),
            ),
            next_execution_at=Case(
                When(in_line, then=F("next_execution_at")),
                When(at_rest, then=Value(now)),
                default=F("next_execution_at"),
            ),
            import_due_at=Case(
                When(in_line, then=F("import_due_at")),
                When(at_rest, then=Value(now - URGENT_HEAD_START)),
                default=Value(None),
            ),
            check_due_at=None,
        )

    def ask_cancel(self) -> int:
        """Have the heartbeat stop imports in flight; the mirrors are due again as after any import."""
        return self.in_flight().update(cancel_requested=True)

    def deactivate(self) -> int:
        """Let nothing make these mirrors due; the heartbeat stops those in flight."""
        return self.update(active=False, import_due_at=None, check_due_at=None)

    def activate(self, *, now: datetime) -> int:
        """Undo `deactivate`: the mirrors are due when they would have been."""
        due = Case(
            When(Q(hard_failed=True) | Q(claim_expires_at__isnull=False), then=Value(None)),
            default=due_time(),
        )
        return self.filter(active=False).update(active=True, import_due_at=due)

    # -- questions ------------------------------------------------------------------------------------------------

    def in_flight(self) -> Self:
        """Narrow to mirrors that hold an importing slot."""
        return self.filter(status__in=IN_FLIGHT)

    def at_the_door(self, claim: Claim, *, now: datetime) -> "ImportState | None":
        """Return the row of a claim that may be scheduled, with its host, if it still stands."""
        return next(iter(statements.at_the_door(self, **_named(claim), now=now)), None)

    def runs(self, claim: Claim, *, now: datetime) -> bool:
        """Say whether an import is still to go on under its claim."""
        return bool(statements.running(self, **_named(claim), now=now))

    def held_in_flight(self, claim: Claim, *, now: datetime) -> "ImportState | None":
        """Return the row of a mirror in flight whose claim still stands."""
        return next(iter(statements.held_in_flight(self, **_named(claim), now=now)), None)

    def beyond(self, capacity: int, *, now: datetime) -> int:
        """Return by how many the claims that stand, before the door and in flight, exceed a capacity."""
        connection = connections[self.db]
        with connection.cursor() as cursor:
            cursor.execute(claim_sql.STANDING, [connection.ops.adapt_datetimefield_value(now)])
            return max(0, int(cursor.fetchone()[0]) - capacity)

    def overdue(self, *, now: datetime) -> Self:
        """Narrow to mirrors that wait for a slot."""
        return self.filter(import_due_at__lte=now)


def _named(claim: Claim) -> dict[str, int]:
    return {"mirror_id": claim.mirror_id, "epoch": claim.epoch}
