"""check_mirrors: lease rows whose check is due -> ask their upstreams -> unchanged: the next check; else: an import.

An unchanged mirror costs no task, no process and no slot. What is not known to be unchanged is imported. One run at a
time; it goes on while there is work, however long: a run that ended would lease nothing until the slowest upstream had
answered, and so one that hangs would hold up all others.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import DatabaseError

from mirroring.flags.readings import Reading, read
from mirroring.flags.registry import FlagName
from mirroring.models import Host, ImportState, SchedulingSettings
from mirroring.models.checks import Verdict
from mirroring.models.database import is_writable
from mirroring.scheduler.check_rows import Batch, Patience, Row, read_rows
from mirroring.scheduler.handing_over import HandingOver
from mirroring.scheduler.under_way import UnderWay
from mirroring.tracker.connection import RunClock
from mirroring.tracker.job_tracker import JobTracker
from mirroring.upstream.client.asks import ANSWER_SECONDS, Answer, Doubt
from mirroring.upstream.client.probe import Way
from mirroring.upstream.client.prober import Prober

logger = logging.getLogger(__name__)

CHECKER_LEASE = timedelta(seconds=6)
"""Short, for a checker that dies must not hold up the next; two at once are harmless, rows being leased."""

LOOKS_EVERY = 2.0
"""Seconds after which a run renews its lead, its clock and its settings: a wrong turn of them lasts no longer."""

BATCH = 1_000
TURN_SECONDS = 0.1
"""So long are rows and answers gathered for one statement: it costs as much for one row as for ten."""

IN_FLIGHT = 4_000
EACH, MOST_EACH = 64, 512
"""Rows leased of a host at once, and rows of it under way beyond which it gets no more.

Four times as many each time while what was leased before is answered by then: a turn costs as much for few as for many.
"""

UNASKED_AGAIN = timedelta(seconds=30)
GIT_ONLY_FOR, TRUSTED_FOR = timedelta(days=1), timedelta(days=7)
"""After so long without an import a mirror is imported unasked: one that only git could list, so that the quicker ways
are tried again; any other, for a check looks at the upstream only, and what is here may have been lost or set back."""


NextDue = Callable[..., datetime]


@dataclass(frozen=True)
class Hooks:
    """What a run calls: the formula, the wake-up of the scheduler, and whether to begin nothing more."""

    next_due: NextDue
    wake: Callable[[], None]
    stopping: Callable[[], bool] = lambda: False
    lingers: float = 0.0
    """Seconds without anything due after which a run ends."""


@dataclass(frozen=True)
class Place:
    """Where checks run. `owner` names this run and no other."""

    tracker: JobTracker
    clock: RunClock
    prober: Prober
    owner: str
    hooks: Hooks


def check_mirrors(place: Place) -> Counter[str]:
    """Do what is due on the check line, and return how many rows ended in which way."""
    if not _may_run(SchedulingSettings.current()):
        return Counter()
    if not place.tracker.lead(place.owner, lease=CHECKER_LEASE, role="checker"):
        return Counter()
    run = _Run(place, place.clock)
    try:
        run.until_done()
    finally:
        place.tracker.resign(place.owner, role="checker")
        run.count()
    return run.counted


def _may_run(configured: SchedulingSettings) -> bool:
    return not configured.holds_all_back and is_writable()


@dataclass
class _Run:
    place: Place
    clock: RunClock
    configured: SchedulingSettings = field(default_factory=SchedulingSettings.current)
    counted: Counter[str] = field(default_factory=Counter)
    reported: Counter[str] = field(default_factory=Counter)
    under_way: UnderWay = field(default_factory=UnderWay)
    handing_over: HandingOver = field(default_factory=HandingOver)
    led: float = field(default_factory=time.monotonic)
    hosts: dict[int, Host] = field(default_factory=dict)
    each: int = EACH
    more_waits: bool = False

    def until_done(self) -> None:
        """Lease, ask and settle until nothing is due or under way."""
        worked, goes_on = time.monotonic(), True
        while goes_on or self.under_way.rows > 0:
            self.counted["unanswered"] += self.under_way.give_up(now=time.monotonic())
            turn = time.monotonic() + TURN_SECONDS
            goes_on = goes_on and not self.place.hooks.stopping() and self._still_leads()
            self.more_waits = False
            took = self._take() if goes_on else 0
            few = self.each // 2 if self.more_waits else 0
            self._settle(self._gather(until=turn, but=few))
            keeps_up = self.more_waits and self.under_way.parts <= 1 and self.under_way.rows <= few
            self.each = min(4 * self.each, MOST_EACH) if keeps_up else EACH
            if self.place.hooks.lingers and not self.more_waits:
                time.sleep(max(0.0, turn - time.monotonic()))
            if took or self.under_way.rows:
                worked = time.monotonic()
            elif time.monotonic() - worked >= self.place.hooks.lingers:
                goes_on = False

    def _gather(self, *, until: float, but: int) -> list[Answer]:
        """Return the answers that come until the end of a turn, sooner if all are in but a few.

        Where more waits, it is leased and read while these few are asked.
        """
        left, enough = max(0.0, until - time.monotonic()), max(1, self.under_way.asked - but)
        return self.place.prober.answers(wait=left, enough=enough) if self.under_way.asked else []

    def _still_leads(self) -> bool:
        """Renew the lead, the clock and the settings now and then, and count what was done since."""
        if time.monotonic() - self.led < LOOKS_EVERY:
            return True
        self.led = time.monotonic()
        self.clock = RunClock(self.place.tracker.now())
        self.configured = SchedulingSettings.current()
        self.hosts.clear()
        self.count()
        leads = self.place.tracker.lead(self.place.owner, lease=CHECKER_LEASE, role="checker")
        return leads and _may_run(self.configured)

    def _take(self) -> int:
        """Lease rows and have their upstreams asked. Return how many rows were leased."""
        room = min(BATCH, IN_FLIGHT - self.under_way.rows)
        if room <= 0:
            return 0
        now = self.clock.now()
        lease = now + self.configured.lease
        busy = self.under_way.hosts_with(self.each)
        adaptive = self.configured.mirror_host_adaptive
        ids = ImportState.objects.lease_checks(
            room, now=now, until=lease, each=self.each, busy=busy, adaptive=adaptive
        )
        if ids:
            flag = read(FlagName.CHECK_BEFORE_IMPORT, now=now)
            rows = read_rows(ids, now=now, lease=lease)
            of_hosts = Counter(row.host_id for row in rows)
            self.more_waits = len(ids) == room or max(of_hosts.values(), default=0) == self.each
            self._ask(rows, flag=flag, now=now)
        return len(ids)

    def _ask(self, rows: Sequence[Row], *, flag: Reading, now: datetime) -> None:
        """Put one question for all rows that have the same; the rows that need none are settled at once."""
        at_once: list[Verdict] = []
        half = self.configured.lease.total_seconds() / 2  # To wait for its turn, and to be answered.
        patience = Patience(until=time.monotonic() + half, seconds=min(half, ANSWER_SECONDS))
        batch = Batch.of(rows, hosts=self.hosts, now=now, valid_for=self.configured.lease, patience=patience)
        for row in rows:
            reason = _unasked(row, flag=flag, now=now) or batch.refused(row)
            if reason:
                self.counted[reason] += 1
                at_once.append(Verdict(row.mirror_id, lease=row.lease, due_at=now, imports=True))
        self._write(at_once)
        asks = batch.asks()
        self.under_way.add(asks)
        self.place.prober.put(asks, limits=batch.limits())

    def _settle(self, answers: Sequence[Answer]) -> None:
        """Write what the answers mean, all in one statement."""
        now = self.clock.now()
        verdicts = []
        for answer in answers:
            if not self.under_way.remove(answer.ask):  # Another run asked, or this one waits no more.
                self.counted["late"] += len(answer.ask.for_whom)
                continue
            self.counted["bytes"] += answer.heard.size if answer.heard else 0
            self.counted["questions"] += 1
            verdicts += [self._judge(row, answer, now=now) for row in answer.ask.for_whom]
        self.handing_over.put(self.place.tracker, now=now)  # Before anybody can claim these rows.
        self._write(verdicts)

    def _judge(self, row: Row, answer: Answer, *, now: datetime) -> Verdict:
        """Return what becomes of a row. Whatever is not known to be unchanged is due for an import."""
        if answer.doubt is Doubt.UNASKED:
            self.counted["unasked"] += 1
            return Verdict(row.mirror_id, lease=row.lease, due_at=now + UNASKED_AGAIN, imports=False)
        if answer.heard is None:
            self.counted[f"doubtful: {answer.doubt}"] += 1
            return Verdict(row.mirror_id, lease=row.lease, due_at=now, imports=True)
        if row.digest is None or row.seal(answer.heard.digest) != row.digest:
            self.counted["changed"] += 1
            self.handing_over.add(row, answer)
            return Verdict(row.mirror_id, row.lease, due_at=now, imports=True, checked_at=row.leased_at)
        self.counted["unchanged"] += 1
        next_at = self.place.hooks.next_due(
            now=now, duration=timedelta(0), retry_count=0, configured=self.configured
        )
        return Verdict(row.mirror_id, row.lease, next_at, imports=False, checked_at=row.leased_at, same=True)

    def _write(self, verdicts: Sequence[Verdict]) -> None:
        """Write; what cannot be written now is leased, and due again when that ends."""
        try:
            written = ImportState.objects.settle_checks(verdicts)
        except DatabaseError:
            logger.warning("outcomes of checks could not be written", extra={"rows": len(verdicts)})
            return
        self.counted["late"] += len(verdicts) - written
        if any(verdict.imports for verdict in verdicts):
            self.place.hooks.wake()

    def count(self) -> None:
        """Add to the counters of /metrics what happened since the last time."""
        for name, number in (self.counted - self.reported).items():
            self.place.tracker.note(f"checks {name}", number)
        self.reported = Counter(self.counted)


def _unasked(row: Row, *, flag: Reading, now: datetime) -> str:
    """Say why a row is imported without being checked; empty if it is checked."""
    if not flag.is_on(row.actor if flag.state.for_some else None):
        return "released"
    if row.digest is None or row.way not in set(Way):
        return "unknown"
    if row.imported_at and row.imported_at < now - (GIT_ONLY_FOR if row.way == Way.GIT else TRUSTED_FOR):
        return "retried"
    return ""
