"""Small upstream repositories that go from one published state to the next in one rename.

All objects of all states are made beforehand, so a push costs no process. Every ref moves in every push: a set of
refs that is no published state is torn, whoever shows it.
"""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.lab import fast_import
from tests.lab.fast_import import Stream

Refs = dict[str, str]
VERSIONS = 40


@dataclass
class Upstream:
    """One repository, its states in the order of publication, and the one that is published now."""

    name: str
    path: Path
    states: list[Refs] = field(repr=False)
    version: int = 0

    def push(self) -> int:
        """Publish the next state, all refs at one instant, and return its number; at the last one nothing moves."""
        self.version = min(self.version + 1, len(self.states) - 1)
        publish(self.path, self.states[self.version])
        return self.version


def make_upstreams(root: Path, *, seed: int, count: int, versions: int = VERSIONS) -> list[Upstream]:
    """Make the repositories; the same seed makes the same objects."""

    def make(number: int) -> Upstream:
        return make_upstream(root / f"lab-{number:03}.git", rng=Random(f"{seed}/{number}"), versions=versions)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(make, range(count)))


def make_upstream(path: Path, *, rng: Random, versions: int) -> Upstream:
    """Make one repository that shows its first state."""
    fast_import.make_bare(path, head="main")
    stream, heads = Stream(rng), []
    for version in range(versions):
        heads.append(_commits(stream, version, heads[-1] if heads else {}))
    marks = path / "marks"
    fast_import.run(
        path, "fast-import", "--quiet", "--done", f"--export-marks={marks}", content=stream.content()
    )
    oids = dict(line[1:].split(" ") for line in marks.read_text().splitlines())
    states = [
        _refs(version, {branch: oids[str(mark)] for branch, mark in made.items()})
        for version, made in enumerate(heads)
    ]
    shutil.rmtree(path / "refs/heads")
    (path / "refs/heads").mkdir()
    publish(path, states[0])
    return Upstream(name=path.name.removesuffix(".git"), path=path, states=states)


def _commits(stream: Stream, version: int, before: dict[str, int]) -> dict[str, int]:
    """Add the commits of one state: main goes forward, the others are rewritten on top of it."""
    files = {f"file-{version % 5}.txt": stream.text(), "version.txt": f"{version}\n"}
    main = stream.commit("refs/heads/main", files=files, parents=[before["main"]] if before else [])
    sides = {
        name: stream.commit(f"refs/heads/{name}", files={f"{name}.txt": stream.text()}, parents=[main])
        for name in ("side-a", "side-b")
    }
    return {"main": main, **sides}


def _refs(version: int, heads: Refs) -> Refs:
    refs = {f"refs/heads/{name}": oid for name, oid in heads.items()}
    # One that comes and goes, so that a fetch has something to prune; and a tag that moves.
    refs[f"refs/heads/passing-{version % 3}"] = heads["main"]
    refs["refs/tags/latest"] = heads["side-a"]
    return refs


def publish(path: Path, refs: Refs) -> None:
    """Let a repository show these refs and no others, in one rename."""
    lines = [
        "# pack-refs with: peeled fully-peeled sorted ",
        *(f"{oid} {name}" for name, oid in sorted(refs.items())),
    ]
    draft = path / "packed-refs.draft"
    draft.write_text("".join(f"{line}\n" for line in lines))
    draft.rename(path / "packed-refs")
