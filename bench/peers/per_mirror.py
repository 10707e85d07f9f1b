"""A scheduler run as it is usually written: select with the ORM, then for each mirror script, save and apply_async."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from bench.peers.gitlab import SetTracker


def run(
    limit: int, *, now: datetime, until: datetime, tracker: SetTracker, send: Callable[[Any], object]
) -> int:
    """Claim, count and enqueue up to `limit` due mirrors, one at a time; return how many."""
    from mirroring.models import ImportState

    done = 0
    for row in ImportState.objects.filter(import_due_at__lte=now).order_by("import_due_at")[:limit]:
        if not tracker.register(row.mirror_id):
            break
        row.epoch += 1
        row.import_due_at, row.claimed_at, row.claim_expires_at = None, now, until
        row.save(update_fields=["epoch", "import_due_at", "claimed_at", "claim_expires_at"])
        send((row.mirror_id, row.epoch))
        done += 1
    return done
