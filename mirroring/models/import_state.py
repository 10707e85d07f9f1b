"""The state of a mirror. Written by guarded UPDATEs only, never by `save()` or a form.

`next_execution_at` is what people are shown. `import_due_at` is what the claim reads: equal to it (or far back,
for an urgent mirror) while the mirror rests, NULL while it is claimed, in flight, paused, removed or hard-failed, and
while its upstream is to be asked first: then `check_due_at` says when (`checks.py`).
A row with `claim_expires_at` set belongs to whoever holds the `epoch`; every claim raises the epoch.
"""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from mirroring.models.claims import Claim
from mirroring.models.host import Host
from mirroring.models.mirror import Mirror
from mirroring.models.moves import ImportStateQuerySet
from mirroring.rules.outcomes import Outcome
from mirroring.rules.states import IN_FLIGHT, Status

__all__ = ["Claim", "ImportState"]

IN_FLIGHT_NAMES = sorted(IN_FLIGHT)  # In a fixed order, so that the migration is the same each time.


class ImportState(models.Model):
    """Where one mirror stands. Its queryset holds the moves."""

    mirror = models.OneToOneField(Mirror, on_delete=models.CASCADE, primary_key=True, related_name="state")
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="+", db_index=False)
    status = models.CharField(
        max_length=10, default=Status.NONE, choices=[(status, status) for status in Status]
    )
    active = models.BooleanField(
        default=True, help_text="Off while paused or removed: nothing makes the mirror due."
    )
    urgent = models.BooleanField(default=False, help_text="Asked for by a person: goes before every backlog.")
    cancel_requested = models.BooleanField(default=False, help_text="The import in flight is to be stopped.")
    epoch = models.PositiveBigIntegerField(default=0)

    next_execution_at = models.DateTimeField()
    import_due_at = models.DateTimeField(null=True)
    check_due_at = models.DateTimeField(null=True)
    claimed_at = models.DateTimeField(null=True)
    claim_expires_at = models.DateTimeField(null=True)

    last_update_scheduled_at = models.DateTimeField(null=True)
    last_update_started_at = models.DateTimeField(null=True)
    last_update_at = models.DateTimeField(null=True)
    last_successful_update_at = models.DateTimeField(null=True)
    last_changed_at = models.DateTimeField(null=True)
    last_checked_at = models.DateTimeField(null=True)
    upstream_digest = models.BinaryField(
        max_length=32, null=True, help_text="Of what the upstream listed when all of it was here."
    )
    listed_way = models.CharField(max_length=12, blank=True, help_text="How the upstream was asked for that.")
    last_outcome = models.CharField(
        max_length=20, blank=True, choices=[(outcome, outcome) for outcome in Outcome]
    )
    last_error = models.CharField(max_length=1000, blank=True)
    retry_count = models.PositiveIntegerField(default=0, help_text="Failures in a row.")
    lost_count = models.PositiveIntegerField(default=0, help_text="Attempts in a row whose worker vanished.")
    hard_failed = models.BooleanField(
        default=False, help_text="Failed too often in a row: waits for a person."
    )

    objects: ClassVar[ImportStateQuerySet] = ImportStateQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        indexes = [
            # For the claim: the line of each host. There is none on the due time alone: a planner that believes
            # little to be due would read all that is due again for every host. The predicate follows from any
            # comparison, so a generic plan sees it too; and a row that is claimed leaves no entry for its NULL.
            models.Index(
                fields=["host", "import_due_at", "mirror"],
                name="importstate_lines",
                condition=Q(import_due_at__isnull=False),
            ),
            # For lease_checks, in the same form.
            models.Index(
                fields=["host", "check_due_at", "mirror"],
                name="importstate_checks",
                condition=Q(check_due_at__isnull=False),
            ),
            # For repair, and for what each host holds.
            models.Index(
                fields=["claim_expires_at", "host", "status"],
                name="importstate_held",
                condition=Q(claim_expires_at__isnull=False),
            ),
        ]
        constraints = [
            # Nothing can get stuck: every row is claimed, due, or waits for a person.
            models.CheckConstraint(
                condition=Q(claim_expires_at__isnull=False)
                | Q(import_due_at__isnull=False)
                | Q(check_due_at__isnull=False)
                | Q(active=False)
                | Q(hard_failed=True),
                name="importstate_never_stuck",
            ),
            models.CheckConstraint(
                condition=Q(claim_expires_at=None) | Q(import_due_at=None),
                name="importstate_claimed_is_not_due",
            ),
            models.CheckConstraint(
                # On one line only; and what waits for a person is on none.
                condition=Q(check_due_at=None)
                | Q(import_due_at=None, claim_expires_at=None, active=True, hard_failed=False),
                name="importstate_checked_is_at_rest",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=IN_FLIGHT_NAMES) | Q(claim_expires_at__isnull=False),
                name="importstate_in_flight_is_claimed",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.mirror_id}: {self.status}, epoch {self.epoch}"

    @property
    def claim(self) -> Claim:
        """Return the claim under which this row now stands."""
        return Claim(mirror_id=self.mirror_id, epoch=self.epoch, host_id=self.host_id)
