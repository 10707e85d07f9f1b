"""How an import ended: written to the row and the history, and told to the host that was asked."""

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import DatabaseError, transaction

from mirroring.models import Claim, Host, ImportAttempt, ImportState, Relocation, SchedulingSettings
from mirroring.rules.cadence import Dice, next_execution
from mirroring.rules.hosts import Report, Signal
from mirroring.rules.outcomes import SUCCESSES, Outcome, signal_of
from mirroring.rules.policies import POLICIES, judge
from mirroring.upstream.client.probe import sealed
from mirroring.upstream.errors import GitError
from mirroring.upstream.fetch import Fetched

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ending:
    """How the git work of an import ended, and what that says of the host."""

    outcome: Outcome
    error: str = ""
    refs_changed: int = 0
    signal: Signal = Signal.NONE
    retry_after: timedelta | None = None
    moved_to: str = ""
    digest: bytes | None = None
    way: str = ""
    listed_at: datetime | None = None
    """When the upstream was asked, if that was before the import."""

    @classmethod
    def of_error(cls, error: GitError) -> "Ending":
        """Return the ending that an error is."""
        return cls(error.outcome, error.detail, signal=error.signal, retry_after=error.retry_after)

    @classmethod
    def of_success(cls, fetched: Fetched, *, inputs: Sequence[object]) -> "Ending":
        """Return the ending that a fetch is; `inputs` is what decided on what it fetched."""
        outcome = fetched.outcome
        return cls(
            outcome,
            refs_changed=fetched.refs_changed,
            signal=signal_of(outcome),
            moved_to=fetched.moved_to,
            digest=fetched.digest and sealed(fetched.digest, inputs=inputs),
            way=fetched.way,
            listed_at=fetched.listed_at,
        )


def settle(claim: Claim, ending: Ending, *, configured: SchedulingSettings, now: datetime) -> bool:
    """Write how the import ended, if it is still ours to write: the row, then the attempt. False: it is not."""
    # Both or none: an attempt left open beside a row at rest would stay open for ever.
    with transaction.atomic():
        row = ImportState.objects.held_in_flight(claim, now=now)
        if row is not None and ending.moved_to:
            last_success = row.last_successful_update_at
            Relocation.objects.note(row.mirror, to_url=ending.moved_to, last_success=last_success, now=now)
        settled = row is not None and _come_to_rest(row, ending, configured=configured, now=now)
        outcome = ending.outcome if settled else Outcome.FENCED
        ImportAttempt.objects.close(
            claim, at=now, outcome=outcome, error=ending.error, refs_changed=ending.refs_changed
        )
    fields = {
        "mirror": claim.mirror_id,
        "epoch": claim.epoch,
        "outcome": outcome,
        "refs": ending.refs_changed,
    }
    logger.info("import ended", extra=fields)
    return settled


def _come_to_rest(row: ImportState, ending: Ending, *, configured: SchedulingSettings, now: datetime) -> bool:
    verdict = judge(
        ending.outcome,
        before=row.last_outcome,
        retry_count=row.retry_count,
        now=now,
        duration=now - (row.last_update_started_at or now),
        cadence=configured.cadence,
        dice=_dice(),
    )
    noted: dict[str, object] = {}
    if ending.outcome in SUCCESSES:
        # What is here is what the upstream had when it was asked, however long it took to bring.
        asked_at = ending.listed_at or row.last_update_started_at or now
        noted["last_successful_update_at"] = noted["last_checked_at"] = asked_at
        noted["upstream_digest"], noted["listed_way"] = ending.digest, ending.way if ending.digest else ""
    if ending.outcome is Outcome.CHANGED:
        noted["last_changed_at"] = now
    if ending.outcome in SUCCESSES or POLICIES[ending.outcome].counts:
        noted["lost_count"] = 0
    return ImportState.objects.settle_held(
        row.claim,
        verdict.status,
        now=now,
        outcome=ending.outcome,
        next_execution_at=verdict.next_at,
        hard_failed=verdict.waits_for_a_person,
        check_first=ending.digest is not None,
        retry_count=verdict.retry_count,
        last_error=ending.error,
        **noted,
    )


def tell_host(
    host: int, ending: Ending, *, began: datetime, configured: SchedulingSettings, now: datetime
) -> None:
    """Let the host's limit follow from how its import went. Never in the way of the import's end."""
    reason = ending.error or ending.outcome
    report = Report(ending.signal, reason=reason, started_at=began, retry_after=ending.retry_after)
    bounds = configured.host_bounds(configured.mirror_max_capacity)
    try:
        Host.objects.hear(host, report, bounds=bounds, now=now, dice=random.random())  # noqa: S311
    except (DatabaseError, Host.DoesNotExist):
        logger.warning("what an import found out about its host was not noted", extra={"host": host})


def next_due(
    *, now: datetime, duration: timedelta, retry_count: int, configured: SchedulingSettings
) -> datetime:
    """Return the next execution by the formula, with fresh dice."""
    return next_execution(
        now=now, duration=duration, retry_count=retry_count, cadence=configured.cadence, dice=_dice()
    )


def _dice() -> Dice:
    return Dice(backoff=random.random(), floor=random.random(), ceiling=random.random())  # noqa: S311
