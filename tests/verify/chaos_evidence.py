"""What a run of the chaos left behind, as timelines on one wall clock."""

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.verify.concurrency import Event, read_events

FOREVER = float("inf")
LOCK_LAG = 2.0
NOBODYS_LOCK = 5.0
"""SQLite's write lock has no queue: on a busy machine who asks may lose against all others for a second or two."""

IN_FLIGHT = ("scheduled", "started")
SUCCESSES = ("changed", "unchanged")
ROLES = {
    "control": "control",
    "scheduling": "scheduling",
    "checks": "checks",
    "beat": "beat",
    "imports-1": "imports",
    "imports-2": "imports",
}


@dataclass(frozen=True)
class State:
    """One row of the import states, as it was seen."""

    mirror: int
    epoch: int
    status: str
    active: bool
    hard_failed: bool
    due: float | None
    claimed: float | None
    expires: float | None

    def held(self, at: float) -> bool:
        """Tell whether a claim stands."""
        return self.expires is not None and self.expires > at

    def unattended(self, at: float) -> bool:
        """Tell whether it is to be imported and nobody has taken it."""
        waits = self.expires is None and (self.due is None or self.due <= at)
        return (
            self.active
            and not self.hard_failed
            and (waits or (self.expires is not None and self.expires <= at))
        )


@dataclass(frozen=True)
class Attempt:
    """One row of the history."""

    mirror: int
    epoch: int
    worker: str
    started: float
    ended: float | None
    outcome: str

    def open_at(self, at: float) -> bool:
        """Tell whether it was running."""
        return self.started <= at and (self.ended is None or self.ended >= at)

    @property
    def pid(self) -> int:
        """Return the worker's process id."""
        return int(self.worker.rpartition(":")[2] or 0)


@dataclass(frozen=True)
class Look:
    """All rows at one moment."""

    at: float
    capacity: int
    states: dict[int, State]


class Spans:
    """Stretches of time, merged."""

    def __init__(self, spans: Iterable[tuple[float, float]]) -> None:
        self.merged: list[tuple[float, float]] = []
        for begin, end in sorted(span for span in spans if span[1] > span[0]):
            if self.merged and begin <= self.merged[-1][1]:
                self.merged[-1] = (self.merged[-1][0], max(end, self.merged[-1][1]))
            else:
                self.merged.append((begin, end))

    def within(self, begin: float, end: float) -> float:
        """Return how many seconds between two moments they cover."""
        return sum(max(0.0, min(end, last) - max(begin, first)) for first, last in self.merged)

    def covers(self, at: float) -> bool:
        """Tell whether a moment lies in one of them."""
        return any(first <= at <= last for first, last in self.merged)


@dataclass
class Evidence:
    """One run's folder."""

    folder: Path
    problems: list[str] = field(default_factory=list)

    @cached_property
    def plan(self) -> dict[str, Any]:
        """What the run set out to do."""
        plan: dict[str, Any] = json.loads((self.folder / "plan.json").read_text())
        return plan

    @cached_property
    def events(self) -> list[Event]:
        """What the harness did."""
        return read_events(self.folder / "events.jsonl")

    def noted(self, *names: str) -> list[Event]:
        """Return the harness's events of these names."""
        return [event for event in self.events if event["event"] in names]

    def phase(self, name: str) -> float:
        """Return when a phase began; for ever if it never did."""
        return next((event["wall"] for event in self.noted("phase") if event["name"] == name), FOREVER)

    @cached_property
    def ended(self) -> float:
        """Return when the product was killed."""
        return next((event["wall"] for event in self.noted("end_of_product")), FOREVER)

    @cached_property
    def mirror_of(self) -> dict[str, int]:
        """Return the mirror's number by the name of its folder."""
        told = json.loads((self.folder / "end.json").read_text())
        return {Path(each["repository"]).name.removesuffix(".git"): each["id"] for each in told["mirrors"]}

    @cached_property
    def attempts(self) -> list[Attempt]:
        """Return the history, by start."""
        rows = [
            Attempt(
                mirror=row["mirror_id"],
                epoch=row["epoch"],
                worker=row["worker"],
                started=row["started_at"],
                ended=row["ended_at"],
                outcome=row["outcome"],
            )
            for row in read_events(self.folder / "attempts.jsonl")
        ]
        return sorted(rows, key=lambda attempt: attempt.started)

    @cached_property
    def attempts_of(self) -> dict[int, list[Attempt]]:
        """Return the history by mirror."""
        found: dict[int, list[Attempt]] = defaultdict(list)
        for attempt in self.attempts:
            found[attempt.mirror].append(attempt)
        return found

    @cached_property
    def pools(self) -> list[Event]:
        """Return the samples of Redis."""
        return read_events(self.folder / "pools.jsonl")

    @cached_property
    def row_events(self) -> list[Event]:
        """Return the samples of the rows."""
        return read_events(self.folder / "rows.jsonl")

    def looks(self) -> Iterator[Look]:
        """Yield the rows as they were, sample by sample; the same dictionary each time."""
        states: dict[int, State] = {}
        for event in self.row_events:
            if event.get("down"):
                continue
            for values in event["changed"]:
                state = State(*values)
                states[state.mirror] = state
            yield Look(event["at"], event["capacity"], states)

    @cached_property
    def history_of(self) -> dict[int, list[tuple[float, State]]]:
        """Return each row's changes."""
        found: dict[int, list[tuple[float, State]]] = defaultdict(list)
        for event in self.row_events:
            for values in event.get("changed", ()):
                state = State(*values)
                found[state.mirror].append((event["at"], state))
        return found

    def state_at(self, mirror: int, at: float) -> State | None:
        """Return a row as it was last seen at a moment."""
        history = self.history_of.get(mirror, [])
        position = bisect_right(history, at, key=lambda change: change[0])
        return history[position - 1][1] if position else None

    # -- what was there to work with ----------------------------------------------------------------------------------

    @cached_property
    def capacities(self) -> list[tuple[float, int]]:
        """Return the capacity in force by time: the setting, but no more than live workers announced."""
        settings = [(event["at"], event["capacity"]) for event in self.row_events if not event.get("down")]
        slots = [(s["at"], sum(s["workers"].values())) for s in self.pools if not s.get("down")]
        merged = sorted([(at, 0, n) for at, n in settings] + [(at, 1, n) for at, n in slots])
        last, found = [0, 0], []
        for at, which, number in merged:
            last[which] = number
            if not found or found[-1][1] != min(last):
                found.append((at, min(last)))
        return found

    def most_capacity(self, begin: float, end: float) -> int:
        """Return the highest capacity that was in force between two moments."""
        first = max(0, bisect_right(self.capacities, begin, key=lambda change: change[0]) - 1)
        last = bisect_right(self.capacities, end, key=lambda change: change[0])
        return max((number for _, number in self.capacities[first : max(last, first + 1)]), default=0)

    @cached_property
    def outages(self) -> Spans:
        """Return when the harness had taken away what the product cannot do without.

        That is: a store (also SQLite's write lock, where a process was stopped while it held it), all processes of
        a role (from the death of the last until its successor has announced itself), or all capacity. What the
        product does to come back after that is not among it.
        """
        return Spans([*self._store_outages(), *self._locked(), *self._missing_roles(), *self._no_capacity()])

    def up(self, begin: float, end: float) -> float:
        """Return for how many seconds between two moments nothing was taken away."""
        return max(0.0, end - begin - self.outages.within(begin, end))

    def _store_outages(self) -> Iterator[tuple[float, float]]:
        begins: dict[int, float] = {}
        for event in self.noted("fault_begins", "fault_ends"):
            if event.get("outage"):
                if event["event"] == "fault_begins":
                    begins[event["number"]] = event["wall"]
                else:
                    yield begins.pop(event["number"]), event["wall"]
        for samples in (self.pools, self.row_events):
            for before, sample, after in zip([None, *samples], samples, [*samples[1:], None], strict=False):
                if sample.get("down"):
                    yield (before or sample)["at"], (after or sample)["at"]

    def _locked(self) -> Iterator[tuple[float, float]]:
        """Yield when a process was stopped in the middle of a write; a long lock that nobody explains is a fault."""
        excused = Spans(self.windows("stop", "database"))
        for event in read_events(self.folder / "locks.jsonl"):
            begin, end = event["since"], event["at"]
            if excused.within(begin - LOCK_LAG, end) > 0:
                yield begin, end
            elif end - begin > NOBODYS_LOCK:
                self.problems.append(
                    f"the database was locked for {end - begin:.0f} s, and nobody had been stopped"
                )

    def windows(self, *kinds: str) -> Iterator[tuple[float, float]]:
        """Yield from when to when faults of these kinds lasted."""
        begins: dict[int, float] = {}
        for event in self.noted("fault_begins", "fault_ends"):
            if event["kind"] in kinds:
                if event["event"] == "fault_begins":
                    begins[event["number"]] = event["wall"]
                else:
                    yield begins.pop(event["number"]), event["wall"]

    def _no_capacity(self) -> Iterator[tuple[float, float]]:
        since = None
        for event in self.row_events:
            if event.get("down"):
                continue
            if event["capacity"] == 0:
                since = event["at"] - 0.5 if since is None else since
            elif since is not None:
                yield since, event["at"]
                since = None

    def _missing_roles(self) -> Iterator[tuple[float, float]]:
        roles = set(ROLES.values()) if self.plan.get("checks") else set(ROLES.values()) - {"checks"}
        present: dict[str, list[tuple[float, float]]] = {role: [] for role in roles}
        announced = self._announced()
        gone = self._gone()
        for event in self.noted("spawned"):
            role, pid = ROLES.get(event["role"]), event["pid"]
            if role in present and pid in announced:
                stretches = [(announced[pid], gone.get(pid, FOREVER))]
                present[role] += self._without_stops(pid, stretches)
        begin = self.events[0]["wall"] if self.events else 0.0
        for stretches in present.values():
            at = begin
            for first, last in Spans(stretches).merged:
                yield at, first
                at = last
            if at < FOREVER:
                yield at, FOREVER

    def _announced(self) -> dict[int, float]:
        found: dict[int, float] = {}
        for sample in self.pools:
            for name in sample.get("workers", ()):
                found.setdefault(int(name.rpartition(":")[2]), sample["at"])
        return found

    def _gone(self) -> dict[int, float]:
        found: dict[int, float] = {}
        for event in self.noted("kill", "terminated", "died"):
            found.setdefault(event["pid"], event.get("at", event["wall"]))
        return found

    def _without_stops(self, pid: int, stretches: list[tuple[float, float]]) -> list[tuple[float, float]]:
        begins: dict[int, float] = {}
        for event in self.noted("fault_begins", "fault_ends"):
            if event["kind"] != "stop" or event["pid"] != pid:
                continue
            if event["event"] == "fault_begins":
                begins[event["number"]] = event["wall"]
            else:
                first, last = stretches.pop()
                stretches += [(first, begins[event["number"]]), (event["wall"], last)]
        return stretches
