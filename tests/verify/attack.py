"""Judge a run of the attack from what it left behind, without asking the product.

    python -m tests.verify.attack FOLDER

The folder holds plan.json, cases.jsonl and fuzz.jsonl (what was tried, and what the door said), mirrors.json and
map.json (how the mirrors ended, where their repositories are), world.jsonl (what DNS, servers and canaries saw),
proc.jsonl (the watcher of all processes), events.jsonl, sinks/ and state/ (what may hold a secret), and fairness-*/.
The result is one line, `attack ok: ...` or `attack FAILED: ...`. An instrument that saw nothing of what it was
shown is a failure too.
"""

import json
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.verify import attack_cases, attack_fairness, attack_secrets
from tests.verify.concurrency import Event, read_events
from tests.verify.verdict import Verdict

MOST_BOMB_MB = 100
MOST_GIT_MB = 1_200
"""For whatever else a server sends: what the product gives a git that lists refs, and a little for those around it."""

MOST_LATENESS_RATIO = 1.2
MEGABYTE = 1 << 20
FEWEST_LOOKS = 50


@dataclass
class Run:
    """What a run left behind."""

    folder: Path
    problems: list[str] = field(default_factory=list)

    @cached_property
    def plan(self) -> dict[str, Any]:
        """What the run set out to do."""
        plan: dict[str, Any] = self.read("plan.json")
        return plan

    def read(self, name: str) -> Any:
        """Return a JSON file."""
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def lines(self, name: str) -> list[Event]:
        """Return the events of a file of JSON lines; none if it is not there."""
        path = self.folder / name
        return read_events(path) if path.exists() else []

    @cached_property
    def world(self) -> list[Event]:
        """What DNS, servers and canaries saw."""
        return self.lines("world.jsonl")

    @cached_property
    def processes(self) -> list[Event]:
        """What the watcher of processes saw."""
        return self.lines("proc.jsonl")

    @cached_property
    def cases(self) -> list[Event]:
        """What was tried."""
        return self.lines("cases.jsonl")

    def runs(self, group: str) -> bool:
        """Tell whether a group of cases was part of the run."""
        return not self.plan["only"] or group in self.plan["only"]


def judge(folder: Path) -> Verdict:
    """Look at all evidence and return figures and problems."""
    run = Run(folder)
    figures: dict[str, int | float] = {}
    if run.cases:
        figures = {
            "cases": attack_cases.count(run),
            "canary_hits": _canary_hits(run),
            "secrets_found": attack_secrets.found(run),
        }
    figures["orphans"] = _orphans(run)
    if run.cases:
        figures["bomb_peak_mb"] = _peak(run)
    if run.runs("fairness"):
        figures["live_lateness_ratio"] = attack_fairness.ratio(run, limit=MOST_LATENESS_RATIO)
    return Verdict("attack", figures, run.problems)


def _canary_hits(run: Run) -> int:
    """Count connections to inner addresses, but for those with which the harness showed that each is heard."""
    marks = [number for number, event in enumerate(run.world) if event["event"] == "canary_check"]
    if len(marks) != 2:
        run.problems.append("the canaries were never tried: a hit might not be seen")
        return 0
    begin, end = marks
    # The canary writes from its own thread: a check's own connection may be noted just after the mark.
    wanted = list(run.world[end]["places"])
    hits = []
    for event in run.world[begin:]:
        if event["event"] != "canary":
            continue
        if event["at"] in wanted:
            wanted.remove(event["at"])
        else:
            hits.append(event)
    run.problems += [f"the canary at {place} is deaf" for place in wanted]
    for hit in hits:
        run.problems.append(f"somebody connected to {hit['at']}")
    return len(hits)


def _orphans(run: Run) -> int:
    left = [event for path in sorted(run.folder.rglob("events.jsonl")) for event in read_events(path)]
    commands = [event["command"] for event in left if event["event"] == "left_behind"]
    run.problems += [f"still running after the stop: {command[:100]}" for command in commands]
    return len(commands)


def _peak(run: Run) -> int:
    """Return the most memory, in megabytes, that a process group of git had with a bomb; others have a bound too."""
    ends = [event for event in run.processes if event["event"] == "end"]
    if not ends or ends[0]["looks"] < FEWEST_LOOKS:
        run.problems.append("the watcher of processes did not watch")
    groups = [event for event in run.processes if event["event"] == "memory"]
    for event in groups:
        if event["bytes"] > MOST_GIT_MB * MEGABYTE:
            run.problems.append(
                f"git took {event['bytes'] // MEGABYTE} MB: {' | '.join(event['commands'])[:200]}"
            )
    if not run.runs("bomb"):
        return 0
    storage = run.read("map.json").get("attack/bomb-zlib", "nowhere")
    bombs = [event["bytes"] for event in groups if any(storage in command for command in event["commands"])]
    if not bombs:
        run.problems.append("no git process was seen to take the bomb")
    megabytes = -(-max(bombs, default=0) // MEGABYTE)
    if megabytes >= MOST_BOMB_MB:
        run.problems.append(f"the bomb took {megabytes} MB")
    return megabytes


def main() -> None:
    """Print the verdict on a folder."""
    verdict = judge(Path(sys.argv[1]))
    print(verdict.line())
    for problem in verdict.problems:
        print(f"  {problem}", file=sys.stderr)
    raise SystemExit(0 if verdict.ok else 1)


if __name__ == "__main__":
    main()
