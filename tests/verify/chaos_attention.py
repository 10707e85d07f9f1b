"""Whether every mirror was looked after: none lost, none stuck, and how fast the product came back."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from tests.verify.chaos_evidence import FOREVER, IN_FLIGHT, SUCCESSES, Attempt, Evidence, Spans
from tests.verify.concurrency import Event, read_events

SAMPLING = 1.0
"""Seconds by which a sample may be late."""


@dataclass
class Waiting:
    """How mirrors that were due waited: for how long although a slot was free, and when because none was."""

    passed_by: dict[int, float] = field(default_factory=dict)  # The longest, in seconds.
    queued: dict[int, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))


def waiting(evidence: Evidence) -> Waiting:
    """Go through all samples of the rows.

    A mirror is passed by while it is due without a claim that stands, nothing is taken away from the product, and
    there are more free slots than mirrors that stand before it; with fewer, it is queued.
    """
    found, passed_by, before = Waiting(), defaultdict[int, float](float), None
    for look in evidence.looks():
        line = sorted(
            (state.expires or state.due or 0.0, state.mirror)
            for state in look.states.values()
            if state.unattended(look.at)
        )
        taken = sum(state.held(look.at) for state in look.states.values())
        free = max(0, evidence.most_capacity(look.at, look.at) - taken)
        since = look.at if before is None else before
        passed = evidence.up(since, look.at)
        for mirror in passed_by.keys() - {mirror for _, mirror in line}:
            del passed_by[mirror]
        for _, mirror in line[:free]:
            passed_by[mirror] += passed
            found.passed_by[mirror] = max(passed_by[mirror], found.passed_by.get(mirror, 0.0))
        for _, mirror in line[free:]:
            found.queued[mirror].append((since, look.at))
        before = look.at
        if look.at > evidence.ended:
            break
    return found


def lost(evidence: Evidence, waited: Waiting) -> set[int]:
    """Return the mirrors that were passed by for more than a lease and two ticks, or ran no more at the end.

    So a mirror that stands in a long queue is not lost; one that the queue passes by is.
    """
    bound = evidence.plan["lease"] + 2 * evidence.plan["tick"] + SAMPLING
    found = {mirror for mirror, seconds in waited.passed_by.items() if seconds > bound}
    return found | _never_again(evidence)


def _never_again(evidence: Evidence) -> set[int]:
    """Return the mirrors that were not imported once in the quiet time, in which every one is due at least once."""
    begin = evidence.phase("quiet")
    needed = evidence.plan["delay"] + 2 + evidence.plan["lease"] + 2 * evidence.plan["tick"]
    if begin == FOREVER or evidence.up(begin, evidence.ended) < needed:
        evidence.problems.append("the quiet time at the end was too short to see every mirror run")
        return set()
    seen = {attempt.mirror for attempt in evidence.attempts if attempt.started >= begin}
    return set(evidence.mirror_of.values()) - seen


def stuck(evidence: Evidence) -> set[int]:
    """Return the mirrors for which `explain` named no next start, or one that had passed by more than it may."""
    found: set[int] = set()
    for answer in read_events(evidence.folder / "explain.jsonl"):
        for row in answer["rows"]:
            if not _explained(row, answer, evidence):
                found.add(row["id"])
    return found


def _explained(row: Event, answer: Event, evidence: Evidence) -> bool:
    if row["act"]:
        return _needs_a_person(answer, evidence)
    if not row["starts_at"]:
        return False
    starts = datetime.fromisoformat(row["starts_at"]).timestamp()
    allowance = evidence.plan["lease"] + evidence.plan["tick"]
    if row["verdict"] == "running":  # It names the start that was; such an import has a deadline of its own.
        allowance += evidence.plan["fetch_timeout"]
    late = evidence.up(starts, answer["asked"])
    return starts >= answer["asked"] or late <= allowance


def _needs_a_person(answer: Event, evidence: Evidence) -> bool:
    """Tell whether it was true that nothing could start by itself: no capacity, no workers, no store, no connection."""
    cut = Spans(evidence.windows("client_kill", "client_pause", "redis_crash", "database"))
    if cut.within(answer["asked"] - 1, answer["at"] + 1) > 0:
        return True
    near = [s for s in evidence.pools if answer["asked"] - 1 <= s["at"] <= answer["at"] + 1]
    nobody = any(sample.get("down") or not sum(sample["workers"].values()) for sample in near)
    first = bisect_right(evidence.capacities, answer["asked"] - 1, key=lambda change: change[0])
    last = bisect_right(evidence.capacities, answer["at"] + 1, key=lambda change: change[0])
    return nobody or 0 in {number for _, number in evidence.capacities[max(0, first - 1) : last]}


def recoveries(evidence: Evidence, waited: Waiting) -> Iterator[tuple[str, float]]:
    """Yield for each fault that hit something how many seconds passed until that was well again.

    A mirror whose import was hit is well when it runs again, or rests with its due time set. The product as a whole
    is well when, after something it needs was away or the tracker lost its memory, an import starts. Time in
    which something else was taken away does not count, nor does time in the queue before full slots.
    """
    bound = recovery_bound(evidence)
    for at, what, attempt in hits(evidence):
        well = _well(evidence, attempt, at)
        excused = Spans([*evidence.outages.merged, *waited.queued[attempt.mirror]])
        until = min(well, evidence.ended)
        took = until - at - excused.within(at, until)
        if well < FOREVER or took > bound:
            yield f"{what} with mirror {attempt.mirror}", took if well < FOREVER else FOREVER
    starts = [attempt.started for attempt in evidence.attempts]
    flushes = [event["wall"] for event in evidence.noted("fault_ends") if event["kind"] == "flushall"]
    begin = evidence.phase("everything goes wrong")
    for at in [*flushes, *(end for _, end in evidence.outages.merged)]:
        if not begin < at < evidence.ended - bound:
            continue
        position = bisect_right(starts, at)
        after = starts[position] if position < len(starts) else FOREVER
        yield "everything", evidence.up(at, after) if after < FOREVER else FOREVER


def never_closed(evidence: Evidence) -> list[str]:
    """Return a line for each import whose history is still open although the mirror went on."""
    return [
        f"the attempt of mirror {mirror} under epoch {each.epoch} was never closed"
        for mirror, history in evidence.attempts_of.items()
        for each in history[:-1]
        if each.ended is None
    ]


def recovery_bound(evidence: Evidence) -> float:
    """Return how long a recovery may take: the lease, both ticks, and a margin of two heartbeats and one import."""
    return float(evidence.plan["lease"] + 2 * evidence.plan["tick"] + 4 + evidence.plan["fetch_timeout"])


def hits(evidence: Evidence) -> Iterator[tuple[float, str, Attempt]]:
    """Yield the imports that were in flight in what was killed or stopped."""
    for event in evidence.noted("kill"):
        for attempt in in_flight(evidence, event):
            yield event["at"], f"kill of {event['kind']}", attempt
    for event in evidence.noted("fault_begins"):
        if event["kind"] == "stop":
            for attempt in _of_worker(evidence, event["pid"], event["wall"]):
                yield event["wall"], "stop", attempt


def in_flight(evidence: Evidence, kill: Event) -> list[Attempt]:
    """Return the imports that were in flight in what was killed: by the history, whatever the harness thought."""
    if kill["kind"] == "git":
        mirror, epoch = evidence.mirror_of.get(kill["work"][0]), kill["work"][1]
        of_mirror = evidence.attempts_of.get(mirror, []) if mirror else []
        return [each for each in of_mirror if each.epoch == epoch and each.open_at(kill["at"])]
    return _of_worker(evidence, kill["worker"], kill["at"])


def _of_worker(evidence: Evidence, pid: int, at: float) -> list[Attempt]:
    return [attempt for attempt in evidence.attempts if attempt.pid == pid and attempt.open_at(at)]


def _well(evidence: Evidence, attempt: Attempt, at: float) -> float:
    """Return when a mirror was well again after its import was hit."""
    moments = [later.started for later in evidence.attempts_of[attempt.mirror] if later.epoch > attempt.epoch]
    if attempt.outcome in SUCCESSES and attempt.ended is not None:
        moments.append(attempt.ended)
    for seen, state in evidence.history_of[attempt.mirror]:
        rests = state.status not in IN_FLIGHT and state.expires is None
        if seen > at and rests and (state.due or 0.0) > seen and state.epoch == attempt.epoch:
            moments.append(seen)
            break
    return max(at, min(moments, default=FOREVER))
