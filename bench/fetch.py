"""Fetch one new commit into a mirror with many refs: ours, which lists in process, against `git fetch`."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import count as count_up
from pathlib import Path

from bench.harness import upstreams
from bench.harness.command import main
from bench.harness.lab import lab
from bench.harness.measure import Contender, Measured, in_turns, require
from bench.harness.row import Row, Target
from bench.harness.scale import Scale
from bench.harness.upstreams import Served
from bench.peers import git_client

REFSPECS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
FETCH, LEAN, ALL = "git fetch --prune", "git fetch, lean", "ours, with the flag off"
WHY = {
    FETCH: "the defaults of a mirror clone",
    LEAN: "best settings: no maintenance, no tags, no FETCH_HEAD",
    ALL: "git lists, in a process of its own",
}
CASES = ((1_000, 1.4), (50_000, 5.0))


def rows(scale: Scale) -> Iterator[Row]:
    """Yield the rows for few and for many refs."""
    with lab("sqlite") as place:
        for refs, target in CASES:
            size = scale.pick(smoke=refs // 100, quick=refs, full=refs)
            yield from _rows_of(size, target, place.folder / str(refs), scale)


def _rows_of(refs: int, target: float, folder: Path, scale: Scale) -> Iterator[Row]:
    folder.mkdir()
    with ExitStack() as stack:
        making = upstreams.backend(folder, count=1, refs=refs, seed=scale.seed, alike=False)
        served = stack.enter_context(making)
        pushes = Pushes(served)
        contenders = [
            _ours("ours", pushes, folder, probes=True),
            _ours(ALL, pushes, folder, probes=False),
            _git(FETCH, pushes, folder, git_client.DEFAULT),
            _git(LEAN, pushes, folder, git_client.LEAN),
        ]
        rounds = scale.pick(smoke=1, quick=3, full=9)
        mine, *peers = in_turns(contenders, rounds=rounds, seed=scale.seed)
    for peer in peers:
        yield _row(refs, mine, peer, target=target, cpu=True)
        yield _row(refs, mine, peer, target=1, cpu=False)


@dataclass
class Pushes:
    """A new commit before each turn, the same one for all contenders of a round."""

    served: Served
    turns: int = 0
    head: str = field(init=False, default="")

    def before(self, turn: int) -> None:
        """Push if this is the first contender of a round."""
        if turn > self.turns:
            self.turns = turn
            self.served.push([0])
            self.head = self.served.head(0)

    def require(self, path: Path) -> None:
        """Raise Void unless a mirror has the new commit."""
        require(git_client.head_of(path) == self.head, otherwise="the new commit was not brought")


def _git(name: str, pushes: Pushes, folder: Path, words: tuple[str, ...]) -> Contender:
    path, turns = folder / f"{name}.git", count_up(1)
    git_client.clone(pushes.served.urls[0], path)
    return Contender(
        name,
        partial(git_client.fetch, [path], words),
        before=lambda: pushes.before(next(turns)),
        check=lambda: pushes.require(path),
    )


def _ours(name: str, pushes: Pushes, folder: Path, *, probes: bool) -> Contender:
    """Return an import as a worker makes it, without its row: lists, fetches, and lets readers see the refs."""
    from mirroring.upstream.disk.repository import Repository
    from mirroring.upstream.fetch import fetch
    from mirroring.upstream.git.process import StopHandle
    from mirroring.upstream.transfer.session import Order

    repository, epochs, turns = Repository(folder / f"ours-{probes}.git"), count_up(1), count_up(1)
    way = ""

    def run() -> None:
        nonlocal way
        order = Order(
            repository=repository,
            url=pushes.served.urls[0],
            refspecs=REFSPECS,
            epoch=next(epochs),
            timeout=timedelta(minutes=10),
            probes=probes,
            way=way,
        )
        way = fetch(order, still_ours=lambda: True, stop=StopHandle()).way

    run()
    return Contender(
        name,
        run,
        before=lambda: pushes.before(next(turns)),
        check=lambda: pushes.require(repository.path),
    )


def _row(refs: int, ours: Measured, peer: Measured, *, target: float, cpu: bool) -> Row:
    wanted = target if peer.name == FETCH else 0
    return Row(
        row=f"fetch-{refs}{'-cpu' if cpu else ''}",
        what=f"fetch of one new commit, {refs:,} refs, {'client CPU' if cpu else 'wall clock'}",
        peer_name=peer.name,
        unit="ms CPU" if cpu else "ms",
        ours=(ours.cpu if cpu else ours.wall) * 1e3,
        peer=(peer.cpu if cpu else peer.wall) * 1e3,
        target=wanted,
        kind=Target.AT_LEAST if wanted else Target.STATED,
        size=refs,
        why=WHY[peer.name],
    )


if __name__ == "__main__":
    main("fetch", rows)
