"""A small run of a stand-in product: real repositories, real instruments, then one fault planted by each test."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.lab import fast_import, repositories
from tests.lab.http_server import GitServer
from tests.lab.repositories import Upstream
from tests.verify.recorder import Recorder

CAP = 2
SHAPES = ("pulls", "unicode", "trunk", "tag-only", "empty", "plain")
POSITIONS = ((False, False), (True, False), (True, True), (False, True))
ENVIRONMENT = {**fast_import.ENVIRONMENT, "GIT_ASKPASS": "true"}


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a good run of the demo leaves it."""
    folder = tmp_path_factory.mktemp("template")
    upstreams = [
        repositories.make_upstream(folder / "upstreams", seed=1, number=number, shape=shape)
        for number, shape in enumerate(SHAPES)
    ]
    with (
        GitServer(log=folder / "upstream.jsonl", delay=0.3) as server,
        Recorder(folder / "git.jsonl") as recorder,
        ThreadPoolExecutor(CAP) as slots,
    ):
        for upstream in upstreams:
            server.add(upstream.name, upstream.path, behaviour="gone" if upstream.shape == "plain" else "")

        def run_import(upstream: Upstream) -> None:
            mirror_with(recorder.git, folder, upstream, url=server.url_of(upstream.name))

        list(slots.map(run_import, upstreams))
        push = repositories.push_commits(upstreams[0], seed=1)
        run_import(upstreams[0])
    clone = folder / "clones/trunk"
    subprocess.run(["git", "clone", "--mirror", "--quiet", mirror(folder, upstreams[2]), clone], check=True)
    write_records(folder, upstreams, push=vars(push))
    return folder


def mirror(folder: Path, upstream: Upstream) -> Path:
    return folder / "state/repositories" / f"{upstream.name}.git"


def mirror_with(git: Path, folder: Path, upstream: Upstream, *, url: str) -> None:
    """Import once, as a product with one staging folder per import would."""
    path = mirror(folder, upstream)
    path.parent.mkdir(parents=True, exist_ok=True)
    run(git, path, "init", "--quiet", "--bare")
    refspecs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
    run(git, path, "fetch", "--quiet", "--prune", "--no-tags", url, *refspecs)
    run(git, path, "symbolic-ref", "HEAD", f"refs/heads/{upstream.default_branch}")


def run(git: Path, path: Path, *words: str) -> None:
    subprocess.run(
        [git, f"--git-dir={path}", *words], env=ENVIRONMENT, stderr=subprocess.DEVNULL, check=False
    )


def write_records(folder: Path, upstreams: list[Upstream], *, push: dict[str, Any]) -> None:
    names = [upstream.name for upstream in upstreams]
    expected = ["failed" if upstream.shape == "plain" else "fresh" for upstream in upstreams]
    plan = {
        "mirrors": len(names),
        "cap": CAP,
        "updates_seen": 1,
        "clones": 1,
        "flag_positions": 4,
        "checked": 2,
    }
    plan |= {
        "reach_cap": True,
        "workers": ["imports"],
        "served": {name: name for name in names},
        "seconds": 1,
    }
    (folder / "plan.json").write_text(json.dumps(plan))
    write_lines(
        folder / "map.jsonl",
        [
            {
                "name": each.name,
                "upstream": str(each.path),
                "mirror": str(mirror(folder, each)),
                "expected": word,
            }
            for each, word in zip(upstreams, expected, strict=True)
        ],
    )
    rows = [
        {
            "name": name,
            "status": "finished",
            "last_successful_update_at": "2020-01-01T00:00:00Z",
            "last_error": "",
        }
        if word == "fresh"
        else {"name": name, "status": "failed", "last_successful_update_at": None, "last_error": "not found"}
        for name, word in zip(names, expected, strict=True)
    ]
    (folder / "mirrors.json").write_text(json.dumps(rows))
    begin = time.monotonic()
    positions = [
        {"event": "flag_position", "flags": flags, "reported": flags, "imports": 3}
        | {"since": begin + at * 10, "settled": begin + at * 10 + 3, "until": begin + at * 10 + 9}
        for at, flags in enumerate(POSITIONS)
    ]
    events = [
        {"event": "push", **push, "path": ""},
        {"event": "update_seen", "name": push["name"]},
        {"event": "clone", "name": names[2], "path": str(folder / "clones/trunk")},
        {"event": "checked", "unchanged": 2, "since": begin + 50, "until": begin + 60},
        *positions,
    ]
    write_lines(folder / "events.jsonl", events)
    asked = [
        {"event": word, "id": 10_000 + at, "repository": names[2], "kind": "ls-refs", "t": begin + 55}
        for at in range(2)
        for word in ("start", "end")
    ]
    with (folder / "upstream.jsonl").open("a") as log:
        log.writelines(json.dumps(line) + "\n" for line in asked)
    samples = [
        {
            "event": "sample",
            "slots": 2,
            "flags": {"imports@lab": position["flags"]},
            "t": position["settled"] + 1,
        }
        for position in positions
    ]
    write_lines(folder / "samples.jsonl", samples)


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line, default=str) + "\n" for line in lines))


@pytest.fixture
def left_behind(template: Path, tmp_path: Path) -> Path:
    """A copy of the good run, in which a test may plant a fault."""
    folder = tmp_path / "run"
    shutil.copytree(template, folder)
    for file in [*folder.glob("*.json"), *folder.glob("*.jsonl")]:
        file.write_text(file.read_text().replace(str(template), str(folder)))
    return folder


@pytest.fixture
def change_lines(left_behind: Path) -> Callable[[str, Callable[[list[dict[str, Any]]], None]], None]:
    """Return a function that lets a test change the lines of one file."""

    def change(name: str, by: Callable[[list[dict[str, Any]]], None]) -> None:
        lines = [json.loads(line) for line in (left_behind / name).read_text().splitlines()]
        by(lines)
        write_lines(left_behind / name, lines)

    return change
