"""A good run of the chaos, made up: three mirrors under a cap of two, one worker killed in the middle of an import.

The logs are those of a real run, in all their files; a test changes some lines and asks for the verdict.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.verify.chaos_evidence import State

BEGIN, QUIET, END = 1000.0, 1030.0, 1062.0
LEASE, TICK, DELAY, CAP, FETCH_TIMEOUT = 8, 2, 3, 2, 6
PERIOD, LENGTH = 5.0, 1.0
MIRRORS = (1, 2, 3)
VICTIM, KILLED_AT = 2, 1009.3
FIRST, SECOND, SUCCESSOR = 501, 502, 503  # The two workers for imports, and the one that follows the first.
Line = dict[str, Any]


def folder_of(mirror: int) -> str:
    """Return the name of a mirror's folder."""
    return f"{mirror:032x}"


def repository(mirror: int) -> str:
    """Return the path of a mirror's repository."""
    return f"/state/{folder_of(mirror)[:2]}/{folder_of(mirror)}.git"


@dataclass
class Story:
    """The lines of every file."""

    files: dict[str, list[Line]] = field(default_factory=dict)
    changes: list[tuple[float, State]] = field(default_factory=list)
    holds: list[tuple[float, float, str]] = field(default_factory=list)
    number: int = 0

    def add(self, log: str, **line: object) -> None:
        """Add a line to a file."""
        self.files.setdefault(log, []).append(dict(line))

    def write(self, folder: Path) -> None:
        """Write the files."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, lines in self.files.items():
            if name.endswith(".json"):
                (folder / name).write_text(json.dumps(lines[0]))
            else:
                (folder / name).write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    # -- one import ---------------------------------------------------------------------------------------------------

    def run_import(self, mirror: int, epoch: int, *, at: float, worker: int) -> float:
        """Tell of an import that succeeds, and return when the mirror is due again."""
        end, due = at + LENGTH, at + PERIOD
        self._claimed(mirror, epoch, at=at)
        self.holds.append((at - 0.2, end, f"{mirror}:{epoch}"))
        self._attempt(mirror, epoch, worker, started=at, ended=end, outcome="changed")
        self._git(mirror, epoch, begin=at + 0.1, end=at + 0.7)
        row = vars_of(State(mirror, epoch, "started", True, False, None, at - 0.2, at + LEASE))
        self.add("refs.jsonl", event="publish", at=at + 0.8, mirror=mirror, epoch=epoch, row=row, state=epoch)
        self.add("refs.jsonl", event="seen", at=at + 0.9, mirror=mirror, state=epoch, by="file")
        self.changes.append((end, State(mirror, epoch, "finished", True, False, due, None, None)))
        return due

    def lose_import(self, mirror: int, epoch: int, *, at: float, killed: float) -> float:
        """Tell of an import whose worker is killed, and return when repair makes the mirror due again."""
        self._claimed(mirror, epoch, at=at)
        repaired = at + LEASE + 0.7
        self.holds.append((at - 0.2, at + LEASE, f"{mirror}:{epoch}"))
        self._attempt(mirror, epoch, FIRST, started=at, ended=repaired, outcome="lost")
        self._git(mirror, epoch, begin=at + 0.1, end=killed + 0.05)
        self.changes.append((repaired, State(mirror, epoch, "failed", True, False, repaired, None, None)))
        return repaired

    def _claimed(self, mirror: int, epoch: int, *, at: float) -> None:
        self.changes.append(
            (at - 0.2, State(mirror, epoch, "finished", True, False, None, at - 0.2, at - 0.2 + LEASE))
        )
        self.changes.append((at, State(mirror, epoch, "started", True, False, None, at - 0.2, at + LEASE)))

    def _attempt(self, mirror: int, epoch: int, worker: int, **fields: object) -> None:
        line = {"mirror_id": mirror, "epoch": epoch, "worker": f"lab:{worker}", "error": ""}
        line |= {
            f"{name}_at" if name in ("started", "ended") else name: value for name, value in fields.items()
        }
        self.add("attempts.jsonl", event="attempt", **line)

    def _git(self, mirror: int, epoch: int, *, begin: float, end: float) -> None:
        self.number += 1
        argv = [f"--git-dir={repository(mirror)}/incoming/{epoch}", "fetch", "m"]
        self.add("git.jsonl", event="start", id=self.number, argv=argv, git_dir="", cwd="/", wall=begin)
        self.add("git.jsonl", event="end", id=self.number, wall=end)


def vars_of(state: State) -> list[object]:
    """Return a row as it is logged."""
    return list(vars(state).values())


def tell() -> Story:
    """Return the whole story."""
    story = Story()
    plan = {
        "lease": LEASE,
        "tick": TICK,
        "delay": DELAY,
        "cap": CAP,
        "fetch_timeout": FETCH_TIMEOUT,
        "mirrors": 3,
    }
    story.add("plan.json", **plan, imports=20, least_kills=1, least_hits=1)
    for mirror in MIRRORS:
        story.changes.append(
            (BEGIN - 5, State(mirror, 0, "finished", True, False, BEGIN + mirror, None, None))
        )
        _imports(story, mirror)
    _processes(story)
    _samples(story)
    _answers(story)
    mirrors = [{"id": m, "upstream": f"lab-{m}", "repository": repository(m)} for m in MIRRORS]
    published = [(line["mirror"], line["state"]) for line in story.files["refs.jsonl"]]
    last = {f"lab-{m}": max(state for mirror, state in published if mirror == m) for m in MIRRORS}
    story.add("end.json", mirrors=mirrors, versions=last)
    story.add("refs.jsonl", event="reads", at=END, file=100, git=5)
    story.add("naive.json", lost=3, leaked=4)
    story.files["git.jsonl"].sort(key=lambda line: line["wall"])
    return story


def _imports(story: Story, mirror: int) -> None:
    epoch, due = 0, BEGIN + mirror * 1.6
    while due < END - 2:
        epoch += 1
        at = due + 0.3
        if mirror == VICTIM and at <= KILLED_AT < at + LENGTH:
            due = story.lose_import(mirror, epoch, at=at, killed=KILLED_AT)
        else:
            due = story.run_import(mirror, epoch, at=at, worker=FIRST if at < KILLED_AT - LENGTH else SECOND)


def _processes(story: Story) -> None:
    def note(event: str, wall: float, **fields: object) -> None:
        story.add("events.jsonl", event=event, wall=wall, **fields)

    pids = {"control": 401, "scheduling": 402, "beat": 403, "imports-1": FIRST, "imports-2": SECOND}
    note("phase", BEGIN - 20, name="first imports")
    for role, pid in pids.items():
        note("spawned", BEGIN - 20, role=role, pid=pid)
    note("phase", BEGIN, name="everything goes wrong")
    note("kill", KILLED_AT, at=KILLED_AT, kind="worker", pid=FIRST, worker=FIRST, role="imports-1", work=None)
    note("died", KILLED_AT + 0.1, role="imports-1", pid=FIRST, status=-9)
    note("spawned", KILLED_AT + 1, role="imports-1", pid=SUCCESSOR)
    note("phase", QUIET, name="quiet")
    note("end_of_product", END, pids=[])


def _samples(story: Story) -> None:
    changes, at, done = sorted(story.changes, key=lambda change: change[0]), BEGIN - 10, 0
    while at < END:
        due = [state for moment, state in changes[done:] if moment <= at]
        done += len(due)
        story.add("rows.jsonl", event="rows", at=at, capacity=CAP, changed=[vars_of(state) for state in due])
        at = round(at + 0.2, 3)
    at = BEGIN - 10
    while at < END:
        holders = sorted(token for begin, end, token in story.holds if begin <= at < end)
        workers = {
            "control@lab:401": 0,
            "scheduling@lab:402": 0,
            "beat@lab:403": 0,
            f"imports@lab:{SECOND}": 2,
        }
        workers |= {f"imports@lab:{FIRST}": 2} if at < KILLED_AT + LEASE else {}
        workers |= {f"imports@lab:{SUCCESSOR}": 2} if at > KILLED_AT + 2 else {}
        line = {"importing": holders, "processing": [], "workers": workers, "ready": True}
        story.add("pools.jsonl", event="pools", at=at, **line)
        at = round(at + 0.1, 3)


def _answers(story: Story) -> None:
    for at in (BEGIN + 5, BEGIN + 20, BEGIN + 55):
        when = datetime.fromtimestamp(at + 3, tz=UTC).isoformat()
        rows = [{"id": m, "verdict": "resting", "reason": "", "starts_at": when, "act": ""} for m in MIRRORS]
        story.add("explain.jsonl", event="explain", asked=at, at=at + 1, rows=rows)


Change = Callable[[list[Line]], None]
