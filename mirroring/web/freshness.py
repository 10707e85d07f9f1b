"""What catalog.freshness says of one mirror, for queries over all of them; and when each is tried next."""

from datetime import datetime

from django.db.models import Q

from mirroring.catalog.freshness import in_words
from mirroring.models import ImportState
from mirroring.rules.cadence import Cadence
from mirroring.rules.states import Status


def is_stale(*, now: datetime, cadence: Cadence) -> Q:
    """Return the condition on ImportState under which `freshness` calls a mirror stale."""
    oldest = now - cadence.max_delay - cadence.jitter
    waited = Q(mirror__created_at__lt=oldest) | Q(retry_count__gt=0) | Q(hard_failed=True)
    return Q(last_successful_update_at__lt=oldest) | (Q(last_successful_update_at=None) & waited)


def next_attempt(state: ImportState, *, now: datetime) -> str:
    """Return when a mirror is tried next, or why it is not."""
    if not state.active:
        return "not while paused"
    if state.hard_failed:
        return "not before a retry"
    if state.status == Status.STARTED:
        return "running"
    if state.claim_expires_at is not None:
        return "starting"
    if state.check_due_at is not None:
        return f"check {in_words(max(state.check_due_at, now), now=now)}"
    if state.urgent or state.next_execution_at <= now:
        return "waits for a slot"
    return in_words(state.next_execution_at, now=now)
