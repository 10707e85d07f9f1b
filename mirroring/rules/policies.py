"""What follows from each way in which an import can end, as data: when next, does it count, what can be done."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from mirroring.rules.cadence import Cadence, Dice, is_hard_failed, next_execution
from mirroring.rules.outcomes import SUCCESSES, Outcome
from mirroring.rules.states import Status

A_DAY = timedelta(days=1)


class Wait(StrEnum):
    """How long until the next attempt."""

    FORMULA = "as after any import"  # Longer with every failure in a row, up to the longest delay.
    DOUBLING = "twice as long each time, up to a day"
    AT_ONCE = "at once"
    AT_ONCE_ONCE = "at once the first time"


class Rest(StrEnum):
    """As what a mirror waits for a person once it is no longer tried by itself."""

    HARD_FAILED = "hard failed"
    PAUSED = "paused for its credential"
    ARCHIVED = "archived"


@dataclass(frozen=True)
class Policy:
    """What follows from one outcome.

    `counts`: it is a failure in a row, of which only so many are retried. `patience`: endings of this class in a row
    after which the mirror waits for a person at once; 0: only after too many failures. `remedy`: what can be done.
    """

    status: Status = Status.FAILED
    counts: bool = True
    wait: Wait = Wait.FORMULA
    patience: int = 0
    rest: Rest = Rest.HARD_FAILED
    remedy: str = ""


_DONE = Policy(status=Status.FINISHED, counts=False)
_NOT_ITS_DOING = Policy(status=Status.CANCELED, counts=False, wait=Wait.AT_ONCE)

POLICIES: dict[Outcome, Policy] = {
    Outcome.UNCHANGED: _DONE,
    Outcome.CHANGED: _DONE,
    Outcome.TRANSIENT: Policy(remedy="It is tried again by itself; if it stays, ask who runs the upstream."),
    Outcome.HUNG: Policy(
        remedy="If the repository is that large, raise the setting fetch_timeout_seconds;"
        " else ask who runs the upstream."
    ),
    # One refusal may be an outage of the upstream's logins; the second is believed.
    Outcome.AUTH: Policy(
        patience=2,
        rest=Rest.PAUSED,
        remedy="Give it a credential that opens the repository, or replace the one it has; it is tried again at once.",
    ),
    Outcome.GONE: Policy(
        wait=Wait.DOUBLING,
        rest=Rest.ARCHIVED,
        remedy="If it moved: manage.py mirror edit {path} --url NEW. If it is private: give it a credential. What was"
        " mirrored is kept and served.",
    ),
    Outcome.RENAMED: Policy(
        wait=Wait.DOUBLING, remedy="See where it leads, then: manage.py mirror edit {path} --url NEW"
    ),
    Outcome.DIVERGED: Policy(
        wait=Wait.DOUBLING,
        remedy="The upstream rewrote branches, and this mirror keeps what it has: see the branches named; to follow:"
        " manage.py mirror edit {path} --on-divergence overwrite",
    ),
    Outcome.EMPTIED: Policy(
        wait=Wait.DOUBLING,
        remedy="Nothing was deleted here. If the upstream is meant to be empty: manage.py mirror remove {path}",
    ),
    Outcome.BLOCKED: Policy(
        wait=Wait.DOUBLING, remedy="Change the URL, or allow it as the message says, if you trust it."
    ),
    Outcome.TOO_BIG: Policy(
        wait=Wait.DOUBLING,
        remedy="Raise its size limit, or mirror fewer refs: manage.py mirror edit {path} --refs",
    ),
    # Our own troubles: time or an operator mends them, and the mirror's failures are not counted up.
    Outcome.RESOURCE: Policy(counts=False, remedy="Free disk or memory on the worker that ran it."),
    Outcome.CORRUPT: Policy(
        wait=Wait.AT_ONCE_ONCE,
        remedy="Its copy here was damaged: the next import clones it afresh and sets the damaged files aside.",
    ),
    Outcome.LOST: _NOT_ITS_DOING,
    Outcome.FENCED: _NOT_ITS_DOING,
    Outcome.INTERRUPTED: _NOT_ITS_DOING,
    Outcome.NO_SLOT: Policy(counts=False, wait=Wait.AT_ONCE),
    Outcome.CANCELED: Policy(status=Status.CANCELED, counts=False),
}


def remedy(outcome: str, *, path: str) -> str:
    """Return what can be done about an outcome; nothing where nothing is to be done."""
    return POLICIES[Outcome(outcome)].remedy.format(path=path) if outcome else ""


def rest_of(outcome: str) -> Rest:
    """Return as what a mirror waits whose last import ended so."""
    return POLICIES[Outcome(outcome)].rest if outcome else Rest.HARD_FAILED


@dataclass(frozen=True)
class Verdict:
    """What becomes of a mirror after an import."""

    status: Status
    retry_count: int
    next_at: datetime
    waits_for_a_person: bool


def judge(
    outcome: Outcome,
    *,
    before: str,
    retry_count: int,
    now: datetime,
    duration: timedelta,
    cadence: Cadence,
    dice: Dice,
) -> Verdict:
    """Return what becomes of a mirror whose import ended so; `before`: how the one before ended."""
    policy = POLICIES[outcome]
    count = 0 if outcome in SUCCESSES else retry_count + policy.counts
    gives_up = policy.patience > 0 and count >= policy.patience and before == outcome
    return Verdict(
        status=policy.status,
        retry_count=count,
        next_at=now + _wait(policy.wait, count=count, now=now, duration=duration, cadence=cadence, dice=dice),
        waits_for_a_person=gives_up or is_hard_failed(retry_count=count, max_retry=cadence.max_retry),
    )


def _wait(
    wait: Wait, *, count: int, now: datetime, duration: timedelta, cadence: Cadence, dice: Dice
) -> timedelta:
    if wait is Wait.AT_ONCE or (wait is Wait.AT_ONCE_ONCE and count <= 1):
        return timedelta(0)
    if wait is Wait.DOUBLING:
        doubled: timedelta = cadence.min_delay * (1 << min(max(0, count - 1), 30))
        return min(doubled, max(A_DAY, cadence.max_delay)) + cadence.jitter * dice.floor
    return next_execution(now=now, duration=duration, retry_count=count, cadence=cadence, dice=dice) - now
