"""Mirrors in the states that a test begins with."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from mirroring import catalog
from mirroring.models import Claim, ImportState, Mirror
from mirroring.rules.outcomes import Outcome
from mirroring.rules.states import Status

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
LEASE = timedelta(minutes=1)
URL = "https://git.example.org/team/project.git"


def nobody() -> None:
    """Wake nobody."""


def made(url: str = URL, *, wake: Callable[[], None] = nobody, **wanted: str) -> Mirror:
    """Return a new mirror."""
    return catalog.add(catalog.want(url, **wanted), now=NOW, wake=wake)


def state(mirror: Mirror) -> ImportState:
    """Return the mirror's state as the database has it."""
    return ImportState.objects.get(pk=mirror.pk)


def imported(mirror: Mirror, *, next_at: datetime) -> Mirror:
    """Bring the mirror to rest after a successful import at NOW."""
    claim = in_flight(mirror)
    assert ImportState.objects.held(claim, now=NOW).settle(
        Status.FINISHED,
        now=NOW,
        outcome=Outcome.CHANGED,
        next_execution_at=next_at,
        last_successful_update_at=NOW,
    )
    return mirror


def hard_failed(mirror: Mirror) -> Mirror:
    """Bring the mirror to rest after its last permitted failure."""
    claim = in_flight(mirror)
    assert ImportState.objects.held(claim, now=NOW).settle(
        Status.FAILED,
        now=NOW,
        outcome=Outcome.AUTH,
        next_execution_at=LATER,
        hard_failed=True,
        retry_count=15,
        last_error="Authentication failed",
    )
    return mirror


def in_flight(mirror: Mirror) -> Claim:
    """Start an import of the mirror; the others that are due stay so."""
    claims = ImportState.objects.claim_due(1000, now=NOW, until=NOW + LEASE)
    [claim] = [claim for claim in claims if claim.mirror_id == mirror.pk]
    ImportState.objects.give_back([other for other in claims if other != claim], now=NOW)
    assert ImportState.objects.schedule(claim, now=NOW, until=NOW + LEASE)
    assert ImportState.objects.start(claim, now=NOW, until=NOW + LEASE)
    return claim


def due_now(mirror: Mirror) -> bool:
    """Say whether the claim would take the mirror at once, before every backlog."""
    row = state(mirror)
    return row.import_due_at is not None and row.import_due_at < NOW - timedelta(days=365)
