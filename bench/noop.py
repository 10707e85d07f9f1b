"""Ask upstreams that have nothing new: our check against `git fetch --prune`, by CPU time of the client."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from bench.harness import upstreams
from bench.harness.command import main
from bench.harness.lab import lab
from bench.harness.measure import Contender, Cost, Measured, Void, cpu_seconds, in_turns, require
from bench.harness.row import Row, Target
from bench.harness.scale import Scale
from bench.harness.upstreams import Served
from bench.peers import git_client
from bench.peers.raw_loop import RawLoop

REFSPECS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
FETCH, LEAN, RAW = "git fetch --prune", "git fetch, lean", "a raw-socket loop"
WHY = {
    FETCH: "the defaults of a mirror clone",
    LEAN: "best settings: no maintenance, no tags, no FETCH_HEAD; over https also no scan of /etc/ssl/certs",
    RAW: "the floor: one kept connection, no checks of any kind",
}
WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Case:
    """One kind of upstream, and what is to be reached there."""

    name: str
    what: str
    refs: int
    target: float
    memory: bool = True
    tls: bool = False
    closes: bool = False
    raw_target: float = 0


CASES = (
    Case("noop-backend-10", "10 refs, git http-backend", 10, 20, memory=False),
    Case("noop-backend-1000", "1,000 refs, git http-backend", 1_000, 20, memory=False),
    Case("noop-memory-10", "10 refs, answers from memory", 10, 45, raw_target=5),
    Case("noop-memory-1000", "1,000 refs, answers from memory", 1_000, 45, raw_target=5),
    Case("noop-https", "10 refs, https kept alive", 10, 100, tls=True),
    Case("noop-https-new", "10 refs, https, a connection each", 10, 20, tls=True, closes=True),
    Case("noop-50000", "50,000 refs, answers from memory", 50_000, 25),
)


def rows(scale: Scale) -> Iterator[Row]:
    """Yield the rows of each case."""
    with lab("sqlite") as place:
        from mirroring.worker import spare_the_collector

        spare_the_collector()  # As the product's workers do.
        for case in CASES:
            if scale.size != "smoke" or case.refs <= 10:
                yield from _rows_of(case, place.folder / case.name, scale)


def _rows_of(case: Case, folder: Path, scale: Scale) -> Iterator[Row]:
    count = (
        scale.pick(smoke=4, quick=20, full=100)
        if case.refs < 10_000
        else scale.pick(smoke=1, quick=2, full=5)
    )
    folder.mkdir()
    with ExitStack() as stack:
        served = stack.enter_context(_served(case, folder, count=count, seed=scale.seed))
        paths = [folder / "clones" / f"{number}.git" for number in range(count)]
        trust = {"GIT_SSL_CAINFO": str(served.bundle)} if served.bundle else {}
        for url, path in zip(served.urls, paths, strict=True):
            git_client.clone(url, path, extra=trust)
        ours = Checker(served, many=scale.pick(smoke=1, quick=10, full=20))
        lean = trust | ({"GIT_SSL_CAPATH": str(folder / "none")} if served.bundle else {})
        contenders = [
            Contender("ours", ours.turn),
            Contender(FETCH, partial(_fetch, paths, git_client.DEFAULT, trust)),
            Contender(LEAN, partial(_fetch, paths, git_client.LEAN, lean)),
        ]
        if case.raw_target:
            contenders.append(Contender(RAW, RawTurn(served, ours).turn))
        mine, *peers = in_turns(contenders, rounds=scale.rounds, seed=scale.seed)
        ours.find_hidden_changes(scale.seed)
    for peer in peers:
        yield _row(case, mine, peer, count)


def _served(case: Case, folder: Path, *, count: int, seed: int) -> Any:
    if case.memory:
        return upstreams.memory(folder, count=count, refs=case.refs, tls=case.tls, closes=case.closes)
    return upstreams.backend(folder, count=count, refs=case.refs, seed=seed)


def _fetch(paths: list[Path], words: tuple[str, ...], extra: Mapping[str, str]) -> Cost:
    began, cpu = time.perf_counter(), cpu_seconds()
    git_client.fetch(paths, words, extra=extra)
    return Cost(wall=(time.perf_counter() - began) / len(paths), cpu=(cpu_seconds() - cpu) / len(paths))


@dataclass
class Checker:
    """Our checks through the product's prober: of every upstream, several times a turn."""

    served: Served
    many: int
    digests: dict[int, bytes] = field(default_factory=dict)

    def turn(self) -> Cost:
        """Check all, and raise Void unless every upstream answered as the first time."""
        began, cpu = time.perf_counter(), cpu_seconds()
        changed = [self.ask() for _ in range(self.many)]
        checks = self.many * len(self.served.urls)
        cost = Cost(wall=(time.perf_counter() - began) / checks, cpu=(cpu_seconds() - cpu) / checks)
        require(not any(changed[1:]), otherwise="an upstream without changes looked changed")
        return cost

    def ask(self) -> set[int]:
        """Ask all once; return whose answers are not as they were the time before."""
        from mirroring.models import Host
        from mirroring.tasks import PROBER
        from mirroring.upstream.client.probe import Way
        from mirroring.upstream.policy import urls
        from mirroring.upstream.transfer.listing import Known

        host = Host(name=urls.parse(self.served.urls[0]).host, ca_bundle=str(self.served.bundle or ""))
        until = time.monotonic() + WAIT_SECONDS
        asked = [Known(urls.parse(url), host, REFSPECS, Way.V2_SHA1) for url in self.served.urls]
        PROBER.put([known.ask(until=until, for_whom=number) for number, known in enumerate(asked)])
        heard: dict[int, bytes] = {}
        while len(heard) < len(asked):
            require(time.monotonic() < until, otherwise=f"{len(heard)} of {len(asked)} upstreams were heard")
            for answer in PROBER.answers(wait=1.0, enough=len(asked) - len(heard)):
                if answer.heard is None:
                    raise Void(f"an upstream was not heard: {answer.doubt} {answer.said}")
                heard[answer.ask.for_whom] = answer.heard.digest
        changed = {number for number, digest in heard.items() if self.digests.get(number) != digest}
        self.digests = heard
        return changed

    def find_hidden_changes(self, seed: int) -> None:
        """Change a hundredth of the upstreams, at least one, and raise Void unless just these are found."""
        numbers = range(len(self.served.urls))
        hidden = set(Random(seed).sample(numbers, max(1, len(numbers) // 100)))
        self.served.push(sorted(hidden))
        found = self.ask()
        require(
            found == hidden,
            otherwise=f"{len(hidden)} upstreams changed, and {len(found & hidden)} were found",
        )


class RawTurn:
    """The floor, as often as ours."""

    def __init__(self, served: Served, ours: Checker) -> None:
        from mirroring.upstream.client import protocol

        body = protocol.ls_refs(protocol.prefixes(REFSPECS), object_format=protocol.ObjectFormat.SHA1)
        self._loop = RawLoop(served.host, served.port, body)
        self._paths = [url.partition(f":{served.port}")[2] for url in served.urls] * ours.many

    def turn(self) -> Cost:
        """Ask all."""
        began, cpu = time.perf_counter(), cpu_seconds()
        for path in self._paths:
            self._loop.ask(path)
        checks = len(self._paths)
        return Cost(wall=(time.perf_counter() - began) / checks, cpu=(cpu_seconds() - cpu) / checks)


def _row(case: Case, ours: Measured, peer: Measured, count: int) -> Row:
    targets = {FETCH: (case.target, Target.AT_LEAST), RAW: (case.raw_target, Target.AT_MOST)}
    target, kind = targets.get(peer.name, (0, Target.STATED))
    return Row(
        row=case.name,
        what=f"check of an unchanged upstream, {case.what}",
        peer_name=peer.name,
        unit="ms CPU",
        ours=ours.cpu * 1e3,
        peer=peer.cpu * 1e3,
        target=target,
        kind=kind,
        size=count,
        why=WHY[peer.name],
    )


if __name__ == "__main__":
    main("noop", rows)
