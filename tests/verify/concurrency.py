"""How many imports ran at once, by the start and end events of an instrument.

The order of the lines counts, not their times: both instruments write under one lock, and end what has
ended before they write a start.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Event = dict[str, Any]

# Options of git itself that take the next word as their value.
TAKE_A_VALUE = ("-c", "-C", "--git-dir", "--work-tree", "--namespace", "--config-env", "--super-prefix")
# Commands that serve a clone or only look; everything else that touches a repository belongs to an import.
NO_IMPORT = frozenset(
    """upload-pack upload-archive http-backend for-each-ref show-ref rev-parse rev-list cat-file log show config
    count-objects fsck version help var check-ref-format""".split()  # noqa: SIM905 words, not seventeen lines
)
NEW_REPOSITORY = ("init", "clone")
MIRROR = re.compile(r"\A\.?(.+\.git)(?:\.[0-9a-f]+)?\Z")


@dataclass(frozen=True)
class Interval:
    """One process or request, for the repository that it worked on."""

    repository: str
    start: float
    end: float


@dataclass(frozen=True)
class Concurrency:
    """The most repositories at once, and how many starts took the number above the cap."""

    peak: int
    over_cap: int
    repositories: frozenset[str]


def read_events(path: Path) -> list[Event]:
    """Read JSON lines; a last line that was cut off by a kill is left out."""
    if not path.exists():
        return []
    whole = [
        line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")
    ]
    return [json.loads(line) for line in whole]


def measure(events: Iterable[Event], *, cap: int, repository_of: Callable[[Event], str]) -> Concurrency:
    """Count the repositories at work after each start; `repository_of` returns "" for what is no import."""
    open_by_id: dict[int, str] = {}
    peak = over_cap = 0
    seen: set[str] = set()
    for event in events:
        if event["event"] == "end":
            open_by_id.pop(event["id"], None)
        elif name := repository_of(event):
            before = len(set(open_by_id.values()))
            open_by_id[event["id"]] = name
            seen.add(name)
            now = len(set(open_by_id.values()))
            peak = max(peak, now)
            over_cap += now > cap and now > before
    return Concurrency(peak=peak, over_cap=over_cap, repositories=frozenset(seen))


def intervals(events: Iterable[Event], *, repository_of: Callable[[Event], str]) -> Iterator[Interval]:
    """Yield every interval; what never ended goes on for ever."""
    started: dict[int, Event] = {}
    for event in events:
        if event["event"] == "start":
            started[event["id"]] = event
        elif start := started.pop(event["id"], None):
            yield Interval(repository_of(start), start["t"], event["t"])
    for start in started.values():
        yield Interval(repository_of(start), start["t"], float("inf"))


def import_repository(event: Event) -> str:
    """Return the mirror that a git process imports into; "" if it does no such thing."""
    command, rest = command_of(event["argv"])
    if not command or command in NO_IMPORT:
        return ""
    words = [word for word in rest if not word.startswith("-")]
    if command in NEW_REPOSITORY and words:
        return mirror_of(_join(event["cwd"], words[-1]))
    return mirror_of(git_dir_of(event))


def command_of(argv: list[str]) -> tuple[str, list[str]]:
    """Split git's arguments into its command and what follows."""
    position = 0
    while position < len(argv) and argv[position].startswith("-"):
        if argv[position] == "--version":
            return "version", []
        position += 2 if argv[position] in TAKE_A_VALUE else 1
    return (argv[position], argv[position + 1 :]) if position < len(argv) else ("", [])


def git_dir_of(event: Event) -> str:
    """Return the folder that a git process works in: --git-dir, GIT_DIR, -C or where it was started."""
    argv, folder, git_dir = event["argv"], event["cwd"], event["git_dir"]
    position = 0
    while position < len(argv) and argv[position].startswith("-"):
        word, value = argv[position], argv[position + 1] if position + 1 < len(argv) else ""
        if word == "-C":
            folder = _join(folder, value)
        elif word == "--git-dir":
            git_dir = value
        elif word.startswith("--git-dir="):
            git_dir = word.partition("=")[2]
        position += 2 if word in TAKE_A_VALUE else 1
    return _join(folder, git_dir) if git_dir else folder


def mirror_of(path: str) -> str:
    """Return the mirror repository X.git that a path is, or is in; "" if in none.

    A draft beside its place (`.X.git.1a2b`), which is to be renamed to X.git, counts as X.git.
    """
    parts = Path(path).parts
    for position, part in enumerate(parts):
        if found := MIRROR.match(part):
            return str(Path(*parts[:position], found[1]))
    return ""


def _join(folder: str, path: str) -> str:
    return str(Path(folder, path))
