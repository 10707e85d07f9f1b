"""Upstream servers on loopback: the lab's git server, slow or not, and a forge that answers from memory."""

import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count as count_up
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from bench.harness.forge import head_of
from bench.harness.remote import Remote
from bench.peers import git_client
from tests.acceptance.processes import Process
from tests.lab import fast_import, repositories
from tests.lab.certificates import Authority
from tests.lab.fast_import import Stream


@dataclass(frozen=True)
class Served:
    """Upstreams under their URLs, how to change some, what they hold, and the certificates to trust over https."""

    urls: list[str]
    push: Callable[[Sequence[int]], object]
    head: Callable[[int], str]
    bundle: Path | None = None
    says: Callable[[str], dict[str, int]] = lambda _: {}
    """What a forge answers to `asked`: requests of each kind, and to `newer`: versions of what has changed."""

    pid: int = 0
    folder: Path | None = None
    """Where the repositories lie that are on the disk, each as NUMBER.git."""

    @property
    def host(self) -> str:
        """Return the address of the first."""
        return urlsplit(self.urls[0]).hostname or ""

    @property
    def port(self) -> int:
        """Return the port of all."""
        return urlsplit(self.urls[0]).port or 0


@contextmanager
def memory(
    folder: Path,
    *,
    count: int,
    refs: int,
    tls: bool = False,
    closes: bool = False,
    hosts: int = 1,
    version: int = 1,
) -> Iterator[Served]:
    """Serve repositories from memory, spread over loopback addresses. `version`: the first of each."""
    authority = Authority(folder / "authority") if tls else None
    options = ["--hosts", hosts, "--refs", refs, "--version", version, *(["--close"] if closes else [])]
    if authority:
        options += ["--certificate", authority.certificate("127.0.0.1")]
    command = [sys.executable, "-m", "bench.harness.forge_server", *options]
    with Remote("the forge", command, log=folder / "forge.log") as forge:
        port, addresses = forge.ready["port"], forge.ready["addresses"]
        scheme = "https" if tls else "http"
        urls = [f"{scheme}://{addresses[number % hosts]}:{port}/{number}.git" for number in range(count)]
        versions: Counter[int] = Counter()

        def push(numbers: Sequence[int]) -> None:
            forge.turn(*numbers)
            versions.update(numbers)

        def head(number: int) -> str:
            return head_of(number, version + versions[number]).decode()

        yield Served(
            urls, push, head, authority.bundle if authority else None, says=forge.turn, pid=forge.pid
        )


@contextmanager
def backend(folder: Path, *, count: int, refs: int, seed: int, alike: bool = True) -> Iterator[Served]:
    """Serve repositories from disk by `git http-backend`; the answers differ, the first commits do not.

    `alike`: all refs name one commit; else each has one of its own.
    """
    first = folder / "upstreams" / "0.git"
    stream = Stream(Random(seed))
    commit = stream.commit("refs/heads/main", files={"file": stream.text()})
    for number in range(refs - 1):
        ref = f"refs/heads/topic/branch-{number:05}"
        if alike:
            stream.point(ref, commit)
        else:
            stream.commit(ref, files={"topic": f"{number}\n"}, parents=(commit,))
    fast_import.make_bare(first, head="main")
    fast_import.feed(first, stream)
    fast_import.run(first, "pack-refs", "--all")
    paths = [first, *(folder / "upstreams" / f"{number}.git" for number in range(1, count))]
    for path in paths[1:]:
        shutil.copytree(first, path)
    for number in range(count):
        _commit(paths[number], f"repository {number}")
    file = folder / "upstreams.json"
    file.write_text(json.dumps({str(number): {"path": str(path)} for number, path in enumerate(paths)}))
    with Process("tests.lab.http_server", "--repositories", file, output=folder / "upstreams.log") as server:
        url = server.first_line()["url"]
        urls = [f"{url}/{number}.git" for number in range(count)]
        pushes = count_up()

        def push(numbers: Sequence[int]) -> None:
            for number in numbers:
                _commit(paths[number], f"pushed {next(pushes)}")

        def head(number: int) -> str:
            return git_client.head_of(paths[number])

        yield Served(urls, push, head, folder=first.parent)


def _commit(path: Path, text: str) -> None:
    stream = Stream(Random(f"{path}/{text}"))
    stream.commit(
        "refs/heads/main", files={"new": f"{text}\n{stream.text()}"}, parents=("refs/heads/main^0",)
    )
    fast_import.feed(path, stream)


@contextmanager
def slow(folder: Path, *, mirrors: int, seconds: float, seed: int) -> Iterator[list[str]]:
    """Serve small repositories under `mirrors` URLs, and wait before each handshake; yield the URLs."""
    made = repositories.make_upstream(folder / "upstreams", seed=seed, number=0, shape="plain")
    entries = {f"mirror-{number}": {"path": str(made.path)} for number in range(mirrors)}
    file = folder / "upstreams.json"
    file.write_text(json.dumps(entries))
    arguments = ["--repositories", str(file), "--delay", str(seconds)]
    with Process("tests.lab.http_server", *arguments, output=folder / "upstreams.log") as server:
        url = server.first_line()["url"]
        yield [f"{url}/{name}.git" for name in entries]


def add(urls: list[str], *, group: str = "bench") -> None:
    """Have the product mirror these upstreams, all due now."""
    from mirroring import catalog
    from mirroring.catalog.wanted import want
    from mirroring.tracker.connection import connect

    wanted = [(number, want(url, group=group)) for number, url in enumerate(urls)]
    catalog.add_all(wanted, now=connect().now(), wake=lambda: None)
