"""A walk that never was: small evidence, made by hand, in which every figure is as it should be."""

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.verify.seed.evidence import ENVIRONMENTS, FIRST, FLAGS, SECOND
from tests.verify.seed.place_figures import SUITE

T = 1_790_000_000.0
CAPACITY = 4
SCHEMA = """
CREATE TABLE mirroring_flag (name TEXT);
CREATE TABLE mirroring_flagchange (sequence INTEGER, at TEXT, flag TEXT, "by" TEXT, origin TEXT, before TEXT,
    after TEXT, previous TEXT, digest TEXT);
CREATE TABLE mirroring_rollout (id INTEGER PRIMARY KEY, flag TEXT, state TEXT, started_at TEXT, breach_at TEXT,
    off_at TEXT, ended_at TEXT, judgements TEXT, shadow INTEGER);
CREATE TABLE mirroring_metricsample (at TEXT, "values" TEXT);
CREATE TABLE mirroring_plantick (flag TEXT, item TEXT, "by" TEXT, evidence TEXT);
"""
HUMAN = (
    "qa_result",
    "change_issue",
    "cover",
    "announced_team",
    "announced_production",
    "announced_support",
    "announced_issue",
    "cleanup_deployed",
    "feature_closed",
    "issue_closed",
)
# (after seconds, flag, what it is set to; None: deleted) in production.
CHANGES: tuple[tuple[float, str, bool | None], ...] = (
    (10, FIRST, True),
    (30, SECOND, True),
    (40, SECOND, False),
    (100, FIRST, False),
    (160, FIRST, True),
    (170, SECOND, True),
    (400, SECOND, None),
    (401, FIRST, None),
)
POSITIONS = ((True, False), (False, False), (True, True), (False, True))


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def stamp(seconds: float) -> str:
    """Return a time as SQLite keeps it."""
    return datetime.fromtimestamp(T + seconds, tz=UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


@dataclass(frozen=True)
class Builds:
    """A repository with four commits (before, the feature, each flag taken out) and the patches of the last two."""

    path: Path
    commits: list[str]
    patches: dict[str, str]


def make_builds(path: Path) -> Builds:
    """Make it; nothing of a story changes it."""
    for name in ("mirroring", *SUITE):
        target = path / name
        file = target if target.suffix else target / "test_it.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("def test_it() -> None:\n    assert True\n")
    code, changelog = path / "mirroring" / "code.py", path / "CHANGELOG.md"
    code.write_text("".join(f'{flag} = "{flag}"\n' for flag in FLAGS))
    changelog.write_text("# Changelog\n")
    git(path, "init", "-q", "-b", "main")
    commits, patches = [], {}
    for text in ("before", "feature"):
        git(path, "add", "-A")
        git(path, "commit", "-q", "--allow-empty", "-m", text)
        commits.append(git(path, "rev-parse", "HEAD"))
    for number, flag in enumerate(FLAGS):
        code.write_text("".join(f'{each} = "{each}"\n' for each in FLAGS[number + 1 :]))
        changelog.write_text(changelog.read_text() + f"- {flag} is gone\n")
        patches[flag] = git(path, "diff") + "\n"
        git(path, "commit", "-q", "-a", "-m", flag)
        commits.append(git(path, "rev-parse", "HEAD"))
    return Builds(path, commits, patches)


class Story:
    """The evidence, while it can still be changed; `write` puts it on disk."""

    def __init__(self, folder: Path, builds: Builds) -> None:
        self.folder = folder
        self.builds = builds
        self.patches = dict(builds.patches)
        self.events: list[dict[str, Any]] = []
        self.redis: dict[str, list[dict[str, Any]]] = {
            "attempt": list(_attempt()),
            "service": list(_service()),
        }
        self.seen: dict[str, Any] = {}
        self.databases = {name: list(_rows(name)) for name in ENVIRONMENTS}
        self._tell()

    # -- what the walk did ------------------------------------------------------------------------------------------

    def note(self, event: str, **fields: Any) -> None:
        self.events.append({"event": event, **fields})

    def _tell(self) -> None:
        before, feature, _, clean = self.builds.commits
        for name in ENVIRONMENTS:
            own = {"web": f"http://{name}", "state": f"/{name}", "redis": f"unix:///{name}"}
            self.note("deployed", environment=name, commit=feature, **own)
            self.note("mirror", environment=name, name="m", upstream="u", mirror="m")
        old = dict.fromkeys(ENVIRONMENTS, before)
        self.note("status", commit=feature, said=dict.fromkeys(ENVIRONMENTS, "absent"), revisions=old)
        half = {"dev": feature, "staging": feature, "canary": "", "production": before}
        verdicts = ("deployed", "deployed", "unknown", "absent")
        self.note(
            "status", commit=feature, said=dict(zip(ENVIRONMENTS, verdicts, strict=True)), revisions=half
        )
        now = {"dev": feature, "staging": feature, "canary": clean, "production": clean}
        verdicts = ("absent", "absent", "deployed", "deployed")
        self.note("status", commit=clean, said=dict(zip(ENVIRONMENTS, verdicts, strict=True)), revisions=now)
        self.note("out_of_order", ok=False, said=f"it requires {FIRST}", flags=[False, False])
        for name in ENVIRONMENTS[:-1]:
            self.look(name, "qa")
        posted = [
            {"channel": channel, "text": f"{flag} is expected at noon"}
            for flag in FLAGS
            for channel in ("#team", "CPRODUCTION", "CSUPPORT")
        ]
        self.note("announced", expected="noon", posted=posted, wall=T + 5)
        self.note("push", environment="production", name="m", ref="refs/heads/main", target="a" * 40)
        for number, position in enumerate(POSITIONS):
            since = T + 100 + 20 * number
            self.look("production", f"position-{number}", since=since, position=position, flags=position)
        for arm, begin in (("off", 200), ("on", 300)):
            self.note("window", arm=arm, begin=T + begin, end=T + begin + 40)
        for flag, commit in zip(FLAGS, self.builds.commits[2:], strict=True):
            self.note("cleaned", flag=flag, commit=commit, patch=f"{flag}.patch")
        for name in ENVIRONMENTS:
            self.note("stopped", environment=name, left=[])
        self.note("over")

    def look(self, environment: str, what: str, **fields: Any) -> None:
        side = {"refs": {"refs/heads/main": "a" * 40}, "head": "a" * 40, "head_ref": "refs/heads/main"}
        refs, tasks = f"{what}-{environment}-refs.json", f"{what}-{environment}-tasks.json"
        self.seen[refs] = {"m": {"upstream": dict(side), "mirror": {**side, "refs": dict(side["refs"])}}}
        since = fields.get("since", T)
        self.seen[tasks] = {
            name: {"name": f"mirroring.tasks.{name}", "state": "SUCCESS", "started": since + 1}
            for name in ("update_all_mirrors", "project_import_schedule", "update_mirror")
        }
        given = {"since": since, "flags": (True, True), **fields}
        self.note(
            "look", environment=environment, what=what, refs=refs, tasks=tasks, wall=since + 15, **given
        )

    # -- on disk ----------------------------------------------------------------------------------------------------

    def write(self) -> Path:
        places = {name: {"database": f"sqlite:///{self.folder}/{name}.sqlite3"} for name in ENVIRONMENTS}
        plan = {
            "builds": str(self.builds.path),
            "before": self.builds.commits[0],
            "feature": self.builds.commits[1],
            "capacity": CAPACITY,
            "seconds": 40,
            "environments": places,
        }
        (self.folder / "plan.json").write_text(json.dumps(plan))
        _lines(self.folder / "events.jsonl", self.events)
        for name, events in self.redis.items():
            _lines(self.folder / f"redis-{name}.jsonl", sorted(events, key=lambda event: event["t"]))
        for flag, patch in self.patches.items():
            (self.folder / f"{flag}.patch").write_text(patch)
        (self.folder / "seen").mkdir()
        for name, data in self.seen.items():
            (self.folder / "seen" / name).write_text(json.dumps(data))
        for name, rows in self.databases.items():
            with closing(sqlite3.connect(self.folder / f"{name}.sqlite3")) as database:
                database.executescript(SCHEMA)
                for table, values in rows:
                    marks = ", ".join("?" * len(values))
                    database.execute(f"INSERT INTO mirroring_{table} VALUES ({marks})", values)
                database.commit()
        return self.folder


def _lines(path: Path, events: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(event) + "\n" for event in events))


def _rows(environment: str) -> Iterator[tuple[str, list[Any]]]:
    """Return the rows of a database, as (table, values)."""
    state = dict.fromkeys(FLAGS, (False, False))
    for number, (after, flag, to) in enumerate(CHANGES, start=1):
        was, (on, is_set) = state[flag], (bool(to), to is not None)
        state[flag] = (on, is_set)
        before, now = ({"on": each[0], "set": each[1]} for each in (was, (on, is_set)))
        words = [number, stamp(after), flag, "ada", "chatops", json.dumps(before), json.dumps(now)]
        yield "flagchange", [*words, f"d{number - 1}", f"d{number}"]
    if environment != "production":
        return
    good = json.dumps([{"metric": "lag_seconds", "verdict": "good"}])
    bad = json.dumps([{"metric": "over_scheduled", "verdict": "bad"}])
    yield "rollout", [1, FIRST, "done", stamp(10), None, None, stamp(20), good, 0]
    yield "rollout", [2, SECOND, "rolled back", stamp(30), stamp(39.5), stamp(40), stamp(40), bad, 0]
    yield "rollout", [3, SECOND, "done", stamp(170), None, None, stamp(190), good, 0]
    yield "metricsample", [stamp(39.5), json.dumps({"over_scheduled": 3})]
    for item in HUMAN:
        yield "plantick", [SECOND, item, "ada", "2026-01-05T09:00Z told in #team"]


def _attempt() -> Iterator[dict[str, Any]]:
    yield from _heartbeats(0, 90)


def _service() -> Iterator[dict[str, Any]]:
    """Return 300 seconds: off arm 200-240 with jobs beyond the capacity, on arm 300-340 with none and fewer reads."""
    yield from _heartbeats(95, 395)
    reads = calls = 0
    for second in range(95, 396):
        off = second < 270
        reads, calls = reads + (40 if off else 30), calls + (100 if off else 101)
        counted = {"tracker_commands": reads // 3, "broker_commands": reads // 2}
        yield {"t": T + second, "e": "done", "reads": reads, "calls": calls, "run": "r", **counted}
    for number, second in enumerate(range(100, 390, 2)):
        token = f"{number}:1"
        ahead = 3 if second < 270 else 0
        yield {"t": T + second + 0.1 - ahead, "e": "enqueued", "token": token}
        yield {"t": T + second + 0.2, "e": "handed_over", "token": token}
        yield {"t": T + second + 0.2001, "e": "slot", "token": token}
        yield {"t": T + second + 6, "e": "freed", "token": token}


def _heartbeats(begin: int, end: int) -> Iterator[dict[str, Any]]:
    """Return what two workers say of the flags every two seconds."""
    for worker, shift in (("control@a", 0.0), ("imports@a", 0.7)):
        second = begin + shift
        while second < end:
            seen = dict.fromkeys(FLAGS, False)
            for after, flag, to in CHANGES:
                if after <= second:
                    seen[flag] = bool(to)
            yield {"t": T + second, "e": "note", "worker": worker, "flags": seen}
            second += 2
