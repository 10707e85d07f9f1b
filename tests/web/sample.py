"""Mirrors in every state that an operator meets, from a seed: for pages that have to be looked at or measured."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from mirroring.models import Group, Host, ImportAttempt, ImportState, Mirror
from mirroring.rules.outcomes import Outcome
from mirroring.rules.states import Status
from mirroring.tracker.job_tracker import JobTracker, Lease
from tests import trial

GROUPS = {
    "platform": ("Platform team", "#platform", True),
    "security": ("Security office", "security@example.org", False),
    "data": ("Data engineering", "data@example.org", True),
    "vendor": ("Purchasing", "vendors@example.org", False),
}
HOSTS = ("git.example.org", "code.example.net", "forge.example.com:8443", "source.example.edu")
STEMS = (
    "kernel",
    "openssl",
    "parser",
    "charts",
    "runner",
    "toolchain",
    "schemas",
    "ledger",
    "compass",
    "atlas",
)
ENDINGS = ("", "-core", "-tools", "-docs", "-api", "-agent")
LEASE = timedelta(seconds=60)
FLAGS = {trial.FIRST: True, trial.SECOND: False}

ERRORS = {
    Outcome.AUTH: "fatal: could not read Username for 'https://{host}': terminal prompts disabled",
    Outcome.GONE: "fatal: repository 'https://{host}/{path}.git/' not found",
    Outcome.TRANSIENT: "fatal: unable to access 'https://{host}/': Failed to connect: Connection refused",
    Outcome.HUNG: "timed out: the upstream did not finish within the fetch timeout",
}


@dataclass(frozen=True)
class Made:
    """What was made."""

    mirrors: list[Mirror] = field(default_factory=list)
    in_flight: list[ImportState] = field(default_factory=list)


def fill(count: int, *, now: datetime, seed: int = 1) -> Made:
    """Write `count` mirrors with their states and some history."""
    dice = random.Random(seed)
    groups = [
        Group.objects.get_or_create(
            name=name, defaults={"owner": owner, "contact": contact, "public": public}
        )[0]
        for name, (owner, contact, public) in GROUPS.items()
    ]
    hosts = [Host.objects.get_or_create(name=name)[0] for name in HOSTS]
    mirrors = [_mirror(number, dice.choice(groups), dice.choice(hosts), now=now) for number in range(count)]
    Mirror.objects.bulk_create(mirrors, batch_size=1000)
    states = [_state(mirror, number, dice, now=now) for number, mirror in enumerate(mirrors)]
    ImportState.objects.bulk_create(states, batch_size=1000)
    paused = [mirror for mirror in mirrors if mirror.paused_at]
    Mirror.objects.bulk_update(paused, ["paused_at", "pause_reason"], batch_size=500)
    # The column is filled at the insert, with the time of this machine.
    Mirror.objects.filter(pk__in=[mirror.pk for mirror in mirrors[:500]]).update(
        created_at=now - timedelta(days=90)
    )
    ImportAttempt.objects.bulk_create(_history(states[:200], dice, now=now), batch_size=1000)
    return Made(mirrors, [state for state in states if state.status in {Status.SCHEDULED, Status.STARTED}])


def occupy(tracker: JobTracker, made: Made, *, now: datetime, slots: int = 8) -> None:
    """Let the tracker hold what the rows say, with workers that announce themselves."""
    leases = [Lease(token=state.claim.token, deadline=now + LEASE * 0.8) for state in made.in_flight]
    tracker.rebuild(processing=[], importing=leases)
    for name in (
        "imports@worker-1:4211",
        "scheduling@worker-1:4209",
        "control@worker-1:4207",
        "beat@worker-1:4205",
    ):
        announced = slots if name.startswith("imports") else 0
        flags = {} if name.startswith("beat") else FLAGS
        tracker.announce(name, slots=announced, flags=flags, life=timedelta(minutes=5))


def _mirror(number: int, group: Group, host: Host, *, now: datetime) -> Mirror:
    name = STEMS[number % len(STEMS)] + ENDINGS[number // len(STEMS) % len(ENDINGS)]
    if number >= len(STEMS) * len(ENDINGS):
        name += f"-{number // (len(STEMS) * len(ENDINGS))}"
    url = f"https://{host.name}/{group.name}/{name}.git"
    paused = number % 17 == 11
    return Mirror(
        group=group,
        name=name,
        url=url,
        host=host,
        paused_at=now - timedelta(hours=9) if paused else None,
        pause_reason="moves to another host this week" if paused else "",
    )


def _state(mirror: Mirror, number: int, dice: random.Random, *, now: datetime) -> ImportState:
    minutes = dice.uniform(1, 28)
    common: dict[str, Any] = {"mirror": mirror, "host": mirror.host, "epoch": dice.randint(1, 400)}
    good = {
        "status": Status.FINISHED,
        "last_outcome": dice.choice([Outcome.CHANGED, Outcome.UNCHANGED, Outcome.UNCHANGED]),
        "last_update_at": now - timedelta(minutes=minutes),
        "last_successful_update_at": now - timedelta(minutes=minutes),
        "next_execution_at": now + timedelta(minutes=30 - minutes),
    }
    due = {"import_due_at": good["next_execution_at"]}
    if mirror.paused_at:
        return ImportState(
            **common, **good | {"last_successful_update_at": now - timedelta(hours=9)}, active=False
        )
    match (number * 7 + number // 10) % 20:
        case 3:
            return ImportState(
                **common, **_failed(mirror, Outcome.TRANSIENT, 3, now - timedelta(hours=1), now=now)
            )
        case 7:
            old = now - timedelta(days=3)
            return ImportState(**common, **_failed(mirror, Outcome.AUTH, 15, old, now=now), hard_failed=True)
        case 9:
            return ImportState(
                **common, **_failed(mirror, Outcome.GONE, 6, now - timedelta(hours=26), now=now)
            )
        case 12 if number < 200:
            return ImportState(**common, **good | _in_flight(dice, now=now))
        case 15:
            waits = {
                "next_execution_at": now - timedelta(seconds=40),
                "import_due_at": now - timedelta(seconds=40),
            }
            return ImportState(**common, **good | waits)
        case 17:
            return ImportState(**common, status=Status.NONE, next_execution_at=now, import_due_at=now)
        case _:
            return ImportState(**common, **good, **due)


def _failed(
    mirror: Mirror, outcome: Outcome, failures: int, success: datetime, *, now: datetime
) -> dict[str, Any]:
    next_at = now + timedelta(minutes=40)
    return {
        "status": Status.FAILED,
        "last_outcome": outcome,
        "last_error": ERRORS[outcome].format(host=mirror.host.name, path=mirror.path),
        "last_update_at": now - timedelta(minutes=12),
        "last_successful_update_at": success,
        "retry_count": failures,
        "next_execution_at": next_at,
        "import_due_at": None if failures > 14 else next_at,
    }


def _in_flight(dice: random.Random, *, now: datetime) -> dict[str, Any]:
    began = now - timedelta(seconds=dice.uniform(2, 90))
    return {
        "status": dice.choice([Status.STARTED, Status.STARTED, Status.SCHEDULED]),
        "claimed_at": began,
        "last_update_started_at": began,
        "claim_expires_at": now + LEASE,
    }


def _history(states: Iterable[ImportState], dice: random.Random, *, now: datetime) -> list[ImportAttempt]:
    attempts = []
    for state in states:
        for back in range(min(8, state.epoch)):
            began = now - timedelta(minutes=5 + 31 * back)
            last = Outcome(state.last_outcome or Outcome.CHANGED)
            failed = back < state.retry_count
            attempts.append(
                ImportAttempt(
                    mirror=state.mirror,
                    epoch=state.epoch - back,
                    worker="worker-1:4211",
                    started_at=began,
                    ended_at=began + timedelta(seconds=dice.uniform(0.2, 20)),
                    outcome=last if failed or not state.retry_count else Outcome.UNCHANGED,
                    error=state.last_error if failed else "",
                    refs_changed=dice.randint(0, 9) if last == Outcome.CHANGED else 0,
                )
            )
    return attempts
