"""Judge a run of the demo from what it left behind, without asking the product.

    python -m tests.verify.demo FOLDER

The folder holds plan.json, map.jsonl, mirrors.json (the product's last list), events.jsonl (what the demo
did) and the logs of three instruments: git.jsonl (wrapper round git), upstream.jsonl (upstream server) and
samples.jsonl (tracker, from Redis). The result is one line, `demo ok: ...` or `demo FAILED: ...`.
"""

import json
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.verify import evidence, git_facts
from tests.verify.concurrency import Event, read_events
from tests.verify.verdict import Verdict


@dataclass(frozen=True)
class Entry:
    """One mirror of the map: paths of both repositories and what is expected of it."""

    name: str
    upstream: str
    mirror: str
    expected: str


@dataclass
class Run:
    """What a run left behind."""

    folder: Path
    problems: list[str] = field(default_factory=list)

    @cached_property
    def plan(self) -> dict[str, Any]:
        """What the run set out to do: the figures expected, and workers, served, reach_cap."""
        plan: dict[str, Any] = json.loads((self.folder / "plan.json").read_text(encoding="utf-8"))
        return plan

    @cached_property
    def entries(self) -> list[Entry]:
        """The map."""
        return [Entry(**line) for line in read_events(self.folder / "map.jsonl")]

    @cached_property
    def events(self) -> list[Event]:
        """What the demo did and saw."""
        return read_events(self.folder / "events.jsonl")

    def noted(self, name: str) -> list[Event]:
        """Return the demo's events of one name."""
        return [event for event in self.events if event["event"] == name]


def judge(folder: Path, *, seconds: float = 0.0) -> Verdict:
    """Compare everything and return figures and problems."""
    run = Run(folder)
    fresh, failed = _mirrors(run)
    figures: dict[str, int | float] = {
        "mirrors": len(run.entries),
        "fresh": fresh,
        "failed_as_expected": failed,
        "updates_seen": _updates(run),
        "clones": _clones(run),
        "flag_positions": _positions(run),
        **_concurrency(run),
        "seconds": round(seconds or float(run.plan.get("seconds", 0))),
    }
    for name in ("mirrors", "updates_seen", "clones", "flag_positions"):
        if figures[name] != run.plan[name]:
            run.problems.append(f"{name}={figures[name]}, expected {run.plan[name]}")
    _checked(run)
    for event in run.noted("left_behind"):
        run.problems.append(f"still running after the stop: {event['command'][:80]}")
    return Verdict("demo", figures, run.problems)


def _concurrency(run: Run) -> dict[str, int | float]:
    names = {entry.mirror: entry.name for entry in run.entries}
    since = min((event["since"] for event in run.noted("checked")), default=math.inf)
    return evidence.concurrency(run.folder, run.plan, run.problems, mirrors=names, checked_since=since)


def _mirrors(run: Run) -> tuple[int, int]:
    """Count the fresh ones and those that failed as expected; everything else is a problem."""
    listed = {
        row["name"]: row for row in json.loads((run.folder / "mirrors.json").read_text(encoding="utf-8"))
    }
    for name in sorted(listed.keys() ^ {entry.name for entry in run.entries}):
        run.problems.append(f"{name} is in only one of the map and the product's list")
    with ThreadPoolExecutor(4) as pool:
        complaints = list(pool.map(lambda entry: _complaint(entry, listed.get(entry.name, {})), run.entries))
    for entry, complaint in zip(run.entries, complaints, strict=True):
        if complaint:
            run.problems.append(f"{entry.name}: {complaint}")
    right = [
        entry.expected for entry, complaint in zip(run.entries, complaints, strict=True) if not complaint
    ]
    return right.count("fresh"), right.count("failed")


def _complaint(entry: Entry, row: dict[str, Any]) -> str:
    """Return what is wrong with one mirror, in words; empty if it is as expected."""
    if entry.expected == "failed":
        return _not_failed(row)
    try:
        upstream, mirror = git_facts.read(entry.upstream), git_facts.read(entry.mirror)
    except git_facts.Unreadable as error:
        reason = row.get("last_error") or "no error"
        return f"not fresh, {row.get('status', 'unknown')}: {reason} ({error})"
    wrong = git_facts.differences(upstream=upstream, mirror=mirror)
    if wrong:
        return f"not fresh, {wrong[0]}" + (f" and {len(wrong) - 1} more" if len(wrong) > 1 else "")
    if not row.get("last_successful_update_at"):
        return "its refs are right but the product does not call it successful"
    return (broken := git_facts.broken_objects(entry.mirror)) and f"fsck: {broken}"


def _not_failed(row: dict[str, Any]) -> str:
    """Check an expected failure: never successful, and the product says why."""
    if row.get("last_successful_update_at") or row.get("status") == "finished":
        return "it should have failed, and is called fresh"
    if not row.get("last_error"):
        return f"it should have failed with a reason; it is {row.get('status', 'not listed')} without one"
    return ""


def _updates(run: Run) -> int:
    """Count the mirrors in which the pushed change is seen now and was seen while the stack ran."""
    mirrors = {entry.name: entry.mirror for entry in run.entries}
    seen_live = {event["name"] for event in run.noted("update_seen")}
    seen = set()
    for push in run.noted("push"):
        refs = git_facts.read(mirrors[push["name"]]).refs
        if refs.get(push["ref"], "") == push["target"] and push["name"] in seen_live:
            seen.add(push["name"])
        else:
            run.problems.append(
                f"{push['name']}: {push['ref']} was pushed upstream ({push['kind']}) and not seen"
            )
    return len(seen)


def _clones(run: Run) -> int:
    """Count the clones through the product that equal the upstream."""
    upstreams = {entry.name: entry.upstream for entry in run.entries}
    right = 0
    for clone in run.noted("clone"):
        try:
            cloned = git_facts.read(clone["path"])
            wrong = git_facts.differences(upstream=git_facts.read(upstreams[clone["name"]]), mirror=cloned)
        except git_facts.Unreadable as error:
            wrong = [str(error)]
        if wrong:
            run.problems.append(f"the clone of {clone['name']}: {wrong[0]}")
        else:
            right += 1
    return right


def _positions(run: Run) -> int:
    """Count the flag positions in which everything agreed and imports went on to end well."""
    good = set()
    for event in run.noted("flag_position"):
        flags = tuple(event["flags"])
        wrong = evidence.disagreement(run.folder, event, workers=run.plan["workers"])
        if not event["imports"]:
            wrong = wrong or "no import succeeded in it"
        if wrong:
            run.problems.append(f"flags {flags}: {wrong}")
        else:
            good.add(flags)
    return len(good)


def _checked(run: Run) -> None:
    """Complain if upstreams were not asked, without a process, as often as checks are said to have found nothing."""
    wanted = run.plan["checked"]
    paths = {entry.name: entry.mirror for entry in run.entries}
    mirrors = {served: paths[name] for name, served in run.plan["served"].items()}
    found = 0
    for event in run.noted("checked"):
        asked = evidence.questions_without_git(
            run.folder, since=event["since"], until=event["until"], mirrors=mirrors
        )
        found += min(event["unchanged"], asked)
    if found < wanted:
        run.problems.append(f"{found} checks found nothing new without a git process, expected {wanted}")


def main() -> None:
    """Print the verdict on a folder."""
    verdict = judge(Path(sys.argv[1]))
    print(verdict.line())
    for problem in verdict.problems:
        print(f"  {problem}", file=sys.stderr)
    raise SystemExit(0 if verdict.ok else 1)


if __name__ == "__main__":
    main()
