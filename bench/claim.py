"""Claim 500 of a fleet that is all due: through our code, against a bare unfair claim and against swh-scheduler."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bench.harness import fleet, installed
from bench.harness.command import main
from bench.harness.lab import Database, Lab, lab
from bench.harness.measure import Contender, Measured, in_turns, require
from bench.harness.remote import Remote
from bench.harness.row import Row, Target
from bench.harness.scale import Scale
from bench.peers import bare_claim

LEASE = timedelta(hours=1)
MILLION = 1_000_000
SWH = "swh.scheduler==3.6.0"
SAME, NARROW = "bare driver, unfair, our columns", "bare driver, unfair, narrow table"
VISITS, SAMPLED = "swh-scheduler grab_next_visits", "swh-scheduler, tablesample 1 %"
WHY = {
    SAME: "best hand-written: one statement, every column and check that ours has, its one best index",
    NARROW: "best table for it: nothing but what the statement needs; no checks, no history",
    VISITS: "defaults: the policy oldest_scheduled_first; selects by cooldowns and visit types, and sorts",
    SAMPLED: "best setting: looks at a hundredth of the table, which may miss the oldest",
}


@dataclass
class Taken:
    """The rows that one contender has claimed so far: no row may come twice."""

    limit: int
    seen: set[int] = field(default_factory=set)
    last: list[int] = field(default_factory=list)
    claims: list[Any] = field(default_factory=list)

    def check(self) -> None:
        """Raise Void unless the last turn claimed as many rows as it could, none of them claimed before."""
        new = set(self.last) - self.seen
        require(len(new) == len(self.last), otherwise="a row was claimed twice")
        require(len(new) == self.limit, otherwise=f"{len(new)} rows were claimed, not {self.limit}")
        self.seen |= new


def rows(scale: Scale, database: Database = "postgresql") -> Iterator[Row]:
    """Yield a row for each peer."""
    limit = scale.pick(smoke=20, quick=500, full=500)
    mirrors = scale.pick(smoke=2_000, quick=50_000, full=MILLION)
    with ExitStack() as stack:
        place = stack.enter_context(lab(database))
        now = _now()
        fleet.make(mirrors, now=now, seed=scale.seed)
        fleet.tidy()
        bare_claim.make_tables()
        contenders = [_ours(now, limit), *_bare(place, now, limit)]
        wants_swh = database == "postgresql" and scale.size != "smoke"
        if wants_swh:
            contenders += _swh(place, stack, origins=mirrors, limit=limit, sampled=mirrors >= MILLION)
        ours, *peers = in_turns(contenders, rounds=scale.rounds, seed=scale.seed)
    if wants_swh and VISITS not in {peer.name for peer in peers}:
        peers.append(Measured(VISITS, ()))
    for peer in peers:
        yield _row(ours, peer, database=database, mirrors=mirrors, limit=limit)


def _now() -> datetime:
    from mirroring.tracker.connection import connect

    return connect().now()


def _ours(now: datetime, limit: int) -> Contender:
    taken = Taken(limit)

    def claim() -> None:
        taken.claims = product_claim(limit, now)
        taken.last = [claim.mirror_id for claim in taken.claims]

    def check() -> None:
        taken.check()
        hosts = {claim.host_id for claim in taken.claims}
        require(len(hosts) > limit / 2, otherwise=f"{limit} claims are of {len(hosts)} hosts only: not fair")

    return Contender("ours", claim, before=lambda: _come_to_rest(bare_claim.OURS, taken, now), check=check)


def product_claim(limit: int, now: datetime) -> list[Any]:
    """Claim as the dispatcher does with a capacity of twice as much."""
    from mirroring.models import ImportState
    from mirroring.rules import hosts

    bounds = hosts.bounds(2 * limit, share_percent=90)
    return list(ImportState.objects.claim_due(limit, now=now, until=now + LEASE, bounds=bounds))


def _come_to_rest(table: str, taken: Taken, now: datetime) -> None:
    """Let the rows of the turn before come to rest, as imports that ended do: only so many are ever in flight."""
    from django.db import connection

    if taken.last:
        places = ", ".join(["%s"] * len(taken.last))
        later = connection.ops.adapt_datetimefield_value(now + LEASE)
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {table} SET import_due_at = %s, claimed_at = NULL, claim_expires_at = NULL"
                f" WHERE mirror_id IN ({places})",
                [later, *taken.last],
            )


def _bare(place: Lab, now: datetime, limit: int) -> Iterator[Contender]:
    for name, table in ((SAME, bare_claim.SAME), (NARROW, bare_claim.NARROW)):
        claim = bare_claim.claimer(place.bare(), table, vendor=place.database)
        yield _bare_one(name, table, claim, now, limit)


def _bare_one(name: str, table: str, claim: Callable[..., list[Any]], now: datetime, limit: int) -> Contender:
    taken = Taken(limit)

    def run() -> None:
        taken.last = [row[0] for row in claim(limit, now, now + LEASE)]

    return Contender(name, run, before=lambda: _come_to_rest(table, taken, now), check=taken.check)


def _swh(place: Lab, stack: ExitStack, *, origins: int, limit: int, sampled: bool) -> Iterator[Contender]:
    python = installed.python_with(SWH)
    if python is None:
        return
    script = Path(bare_claim.__file__).with_name("swh_claim.py")
    log = place.folder / "swh.log"
    remote = stack.enter_context(
        Remote(SWH, [python, script, place.new_database("swh"), str(origins)], log=log)
    )
    for name, sample in ((VISITS, 0), (SAMPLED, 1))[: 2 if sampled else 1]:
        grabbed: list[int] = []

        def run(sample: int = sample, grabbed: list[int] = grabbed) -> None:
            grabbed[:] = [remote.turn(limit, sample)["rows"]]

        def check(grabbed: list[int] = grabbed) -> None:
            require(grabbed == [limit], otherwise=f"{grabbed} rows were grabbed, not {limit}")

        yield Contender(name, run, check=check)


def _row(ours: Measured, peer: Measured, *, database: str, mirrors: int, limit: int) -> Row:
    targets = {SAME: (2.5 if database == "postgresql" else 4, Target.AT_MOST)}
    if mirrors >= MILLION:
        targets[VISITS] = (100, Target.AT_LEAST)
    target, kind = targets.get(peer.name, (0, Target.STATED))
    return Row(
        row=f"claim-{database}",
        what=f"claim {limit} of {mirrors:,} due, {database}",
        peer_name=peer.name,
        unit="ms",
        ours=ours.wall * 1e3,
        peer=peer.wall * 1e3,
        target=target,
        kind=kind,
        size=mirrors,
        why=WHY[peer.name],
    )


if __name__ == "__main__":
    main("claim", rows)
