"""The moves of ImportState: each is one guarded UPDATE, so that of two that race only one gets the row."""

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import Case, F, Q, Value, When

from mirroring.models.checks import ChecksQuerySet, check_time
from mirroring.models.claims import Claim, ClaimsQuerySet, due_time, if_active
from mirroring.rules.cadence import URGENT_HEAD_START
from mirroring.rules.outcomes import Outcome
from mirroring.rules.states import IN_FLIGHT, MAY_FOLLOW, Status


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
        return self.held(claim, now=now)._move(
            Status.SCHEDULED, last_update_scheduled_at=now, claim_expires_at=until
        )

    def start(self, claim: Claim, *, now: datetime, until: datetime) -> bool:
        """Move a scheduled mirror to `started`. False if the claim no longer stands or was used before."""
        return self.held(claim, now=now)._move(
            Status.STARTED, last_update_started_at=now, claim_expires_at=until, urgent=False
        )

    def _move(self, to: Status, **changes: object) -> bool:
        return self.wanted().filter(status__in=MAY_FOLLOW[to]).update(status=to, **changes) == 1

    def settle(
        self,
        to: Status,
        *,
        now: datetime,
        outcome: Outcome,
        next_execution_at: datetime,
        hard_failed: bool = False,
        check_first: bool = False,
        **changes: object,
    ) -> bool:
        """Bring a mirror in flight to rest, due at `next_execution_at`. False if someone else has.

        `check_first`: what is due then is a check, and an import only if it finds something new. One that was asked
        for in the meantime is due at once, even if it would be given up; one that is paused or given up is not due.
        """
        next_at = Case(When(urgent=True, then=Value(now)), default=Value(next_execution_at))
        never = Value(None, output_field=models.DateTimeField())
        rests = never if hard_failed or check_first else Value(next_execution_at)
        asked = When(urgent=True, then=Value(now - URGENT_HEAD_START, output_field=models.DateTimeField()))
        due = if_active(Case(asked, default=rests, output_field=models.DateTimeField()))
        gives_up = Case(When(urgent=True, then=Value(value=False)), default=Value(hard_failed))
        return (
            self.filter(status__in=MAY_FOLLOW[to]).update(
                status=to,
                last_update_at=now,
                last_outcome=outcome,
                next_execution_at=next_at,
                import_due_at=due,
                check_due_at=check_time(next_execution_at if check_first and not hard_failed else None),
                hard_failed=gives_up,
                cancel_requested=False,
                claim_expires_at=None,
                claimed_at=None,
                **changes,
            )
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

    def beyond(self, capacity: int, *, now: datetime) -> int:
        """Return by how many the claims that stand, before the door and in flight, exceed a capacity."""
        return max(0, self.filter(claim_expires_at__gt=now).count() - capacity)

    def overdue(self, *, now: datetime) -> Self:
        """Narrow to mirrors that wait for a slot."""
        return self.filter(import_due_at__lte=now)
