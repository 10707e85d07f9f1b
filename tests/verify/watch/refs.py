"""Who replaced which repository's refs, and what readers saw of them.

A mirror's refs are one file, `packed-refs`, and an update is the rename of `incoming/EPOCH/packed-refs` over it. The
kernel reports both ends of that rename, so each change of the refs is known with the epoch that made it; right
after it the row is read, for the epoch that was in force.

What this cannot see: a writer that does not rename (it writes into the file, or makes loose refs) has no epoch here;
its change is found by the readers, and counts as made by nobody. The row is read some milliseconds after the
change, so a claim that began in between looks as if it had been there before; the judge allows a quarter of a second.
"""

import os
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.verify.watch.inotify import (
    CREATE,
    IGNORED,
    IS_FOLDER,
    MOVED_FROM,
    MOVED_TO,
    OVERFLOW,
    Change,
    Inotify,
)
from tests.verify.watch.log import Log
from tests.verify.watch.rows import Errors, Tables

SWEEP_SECONDS = 0.25
GIT_ENVIRONMENT = {
    "PATH": os.environ.get("PATH", os.defpath),
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}
Refs = dict[str, str]


@dataclass
class Repository:
    """One mirror's repository, and every state that its upstream publishes."""

    mirror: int
    path: Path
    states: list[Refs]
    known: dict[frozenset[tuple[str, str]], int] = field(default_factory=dict)
    seen: int | None = None

    def __post_init__(self) -> None:
        self.known = {frozenset(state.items()): number for number, state in enumerate(self.states)}

    def number_of(self, refs: Refs) -> int | None:
        """Return which published state this is; -1: nothing yet; None: none of them."""
        return self.known.get(frozenset(refs.items())) if refs else -1


def read(path: Path) -> Refs:
    """Return the refs as git would: those of packed-refs, and loose ones over them."""
    refs: Refs = {}
    try:
        text = (path / "packed-refs").read_text(errors="surrogateescape")
    except FileNotFoundError:
        text = ""
    for line in text.split("\n"):
        if line and line[0] not in "#^":
            oid, _, name = line.partition(" ")
            refs[name] = oid
    return refs | dict(_loose(path / "refs", "refs"))


def _loose(folder: Path, name: str) -> Iterator[tuple[str, str]]:
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _loose(Path(entry.path), f"{name}/{entry.name}")
        else:
            try:
                yield f"{name}/{entry.name}", Path(entry.path).read_text().strip()
            except FileNotFoundError:
                continue


def read_by_git(path: Path) -> Refs:
    """Return the refs as git itself shows them."""
    command = ["git", f"--git-dir={path}", "for-each-ref", "--format=%(objectname) %(refname)"]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env=GIT_ENVIRONMENT, timeout=60
    )
    return {name: oid for oid, _, name in (line.partition(" ") for line in done.stdout.splitlines())}


class Reader(threading.Thread):
    """Reads every repository four times a second, and one a second with git."""

    def __init__(self, repositories: list[Repository], log: Log, ended: threading.Event) -> None:
        super().__init__(daemon=True)
        self._repositories, self._log, self._ended = repositories, log, ended
        self.counts: Counter[str] = Counter()

    def run(self) -> None:
        """Read until the end."""
        rng = random.Random(1)
        while not self._ended.wait(SWEEP_SECONDS):
            for repository in self._repositories:
                self.look(repository, read(repository.path), by="file")
            chosen = rng.choice(self._repositories)
            if rng.random() < SWEEP_SECONDS and (chosen.path / "HEAD").exists():
                self.look(chosen, read_by_git(chosen.path), by="git")

    def look(self, repository: Repository, refs: Refs, *, by: str) -> None:
        """Note a state that is new to us, or that never was."""
        self.counts[by] += 1
        number = repository.number_of(refs)
        if number is None:
            self._log.write("torn", mirror=repository.mirror, by=by, refs=refs)
        elif number != repository.seen:
            repository.seen = number
            self._log.write("seen", mirror=repository.mirror, state=number, by=by)


class Writers:
    """Follows the renames by which refs are replaced."""

    def __init__(self, repositories: list[Repository], log: Log, database_url: str) -> None:
        self._inotify = Inotify()
        self._log = log
        self._tables = Tables(database_url)
        self._waiting = list(repositories)
        self._roots: dict[int, Repository] = {}
        self._incoming: dict[int, Repository] = {}
        self._staged: dict[int, int] = {}
        self._moving: dict[int, int] = {}

    def follow(self, ended: threading.Event) -> None:
        """Write down every change of refs until the end."""
        while not ended.is_set():
            self._adopt()
            for change in self._inotify.wait(0.2):
                self._take(change)
        self._inotify.close()
        self._tables.close()

    def _adopt(self) -> None:
        """Watch the repositories that have come into being."""
        for repository in list(self._waiting):
            incoming = self._inotify.add(repository.path / "incoming")
            root = self._inotify.add(repository.path) if incoming is not None else None
            if incoming is None or root is None:
                continue
            self._incoming[incoming], self._roots[root] = repository, repository
            self._waiting.remove(repository)
            for folder in (repository.path / "incoming").iterdir():
                self._stage(repository, folder.name)
            self._log.write("watched", mirror=repository.mirror)

    def _stage(self, repository: Repository, name: str) -> None:
        if name.isdigit() and (watch := self._inotify.add(repository.path / "incoming" / name)) is not None:
            self._staged[watch] = int(name)

    def _take(self, change: Change) -> None:
        if change.mask & OVERFLOW:
            self._log.write("overflow")
        elif change.mask & IGNORED:
            self._staged.pop(change.watch, None)
        elif change.watch in self._incoming and change.mask & CREATE and change.mask & IS_FOLDER:
            self._stage(self._incoming[change.watch], change.name)
        elif change.watch in self._staged and change.mask & MOVED_FROM and change.name == "packed-refs":
            self._moving[change.cookie] = self._staged[change.watch]
        elif (
            change.watch in self._roots and change.mask & (MOVED_TO | CREATE) and change.name == "packed-refs"
        ):
            self._publish(self._roots[change.watch], self._moving.pop(change.cookie, None))

    def _publish(self, repository: Repository, epoch: int | None) -> None:
        at = time.time()
        try:
            row: list[Any] | None = self._tables.state_of(repository.mirror)
        except Errors:
            row = None
        state = repository.number_of(read(repository.path))
        self._log.write("publish", at=at, mirror=repository.mirror, epoch=epoch, row=row, state=state)


def repositories(mirrors: list[dict[str, Any]], states: Mapping[str, list[Refs]]) -> list[Repository]:
    """Return the repositories of these mirrors."""
    return [Repository(each["id"], Path(each["repository"]), states[each["upstream"]]) for each in mirrors]
