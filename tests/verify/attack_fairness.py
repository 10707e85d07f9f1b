"""How late the mirrors of live hosts were, without and with a dead host beside them, by the live servers' own log."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.verify.attack import Run

FLOOR_SECONDS = 0.5
"""Below this the two runs differ by chance alone."""


@dataclass(frozen=True)
class Arm:
    """How late each visit was, in seconds, and how many mirrors were visited at all."""

    lateness: list[float]
    visited: int

    @property
    def p95(self) -> float:
        """Return the 95th percentile."""
        ordered = sorted(self.lateness)
        return ordered[max(0, -(-len(ordered) * 95 // 100) - 1)]


def ratio(run: "Run", *, limit: float) -> float:
    """Return p95 with the dead host over p95 without, and complain if it is too high or means nothing."""
    without, beside = (_arm(run, arm) for arm in ("without", "with"))
    for name, arm in (("without", without), ("with", beside)):
        if arm.visited < run.plan["live"]:
            run.problems.append(
                f"{name} the dead host {arm.visited} of {run.plan['live']} live mirrors were visited"
            )
    dead = run.read("fairness-with/mirrors.json")
    tried = [row for row in dead if row["name"].startswith("dead/") and row["attempts"]]
    if not tried:
        run.problems.append("nobody ever tried the dead host: it was no burden")
    if any(row["fresh"] for row in tried):
        run.problems.append("the dead host was alive")
    result = round(max(beside.p95, FLOOR_SECONDS) / max(without.p95, FLOOR_SECONDS), 2)
    if result > limit:
        run.problems.append(
            f"live mirrors were {result} times as late beside a dead host ({beside.p95:.1f} s, {without.p95:.1f} s)"
        )
    return result


def _arm(run: "Run", arm: str) -> Arm:
    events = run.lines(f"fairness-{arm}/events.jsonl")
    forced = next(event for event in events if event["event"] == "forced")
    window = next(event for event in events if event["event"] == "window")
    visits: dict[str, list[float]] = {}
    for event in run.lines(f"fairness-{arm}/world.jsonl"):
        if event["event"] in {"request", "answered"} and event["t"] <= window["end"]:
            visits.setdefault(event["case"], []).append(event["t"])
    lateness: list[float] = []
    for number, due_in in enumerate(forced["due_in"]):
        lateness += _late(visits.get(f"live-{number}", []), due=forced["at"] + due_in, window=window)
    return Arm(lateness, visited=len(visits))


def _late(moments: list[float], *, due: float, window: dict[str, Any]) -> list[float]:
    """Return how late each visit was; one that is due and has not come counts up to the end of the window."""
    late: list[float] = []
    last = 0.0
    for moment in sorted(moments):
        # The requests of one import follow each other at once; the next import is due a delay after its end.
        if not late or moment - last > window["delay"] / 2:
            late.append(max(0.0, moment - due))
        last = moment
        due = last + window["delay"]
    if due < window["end"]:
        late.append(window["end"] - due)
    return late
