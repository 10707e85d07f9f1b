"""The upstream side of a run: repositories made from the seed or given by a list, and what is pushed to them."""

import json
from dataclasses import dataclass
from pathlib import Path
from random import Random
from urllib.parse import quote

from tests.acceptance.plan import BEHAVIOURS, Plan
from tests.lab import repositories
from tests.lab.repositories import PUSH_KINDS, Push, Upstream
from tests.verify import git_facts

GROUP = "demo"


@dataclass(frozen=True)
class Source:
    """One upstream: its name there, the path or URL that it can be compared with, and what to expect."""

    name: str
    compare_with: str
    expected: str
    behaviour: str = ""
    made: Upstream | None = None

    @property
    def mirror_name(self) -> str:
        """The name of its mirror."""
        return f"{GROUP}/{self.name}"

    @property
    def served(self) -> bool:
        """Whether our own server serves it; else it is mirrored from where it is."""
        return "://" not in self.compare_with

    def url(self, server: str) -> str:
        """Return the URL that the product gets."""
        return f"{server}/{quote(self.name)}.git" if self.served else self.compare_with


def make(plan: Plan, folder: Path) -> list[Source]:
    """Make the upstream repositories; the last three of them misbehave."""
    good = repositories.make_upstreams(folder, seed=plan.seed, count=plan.mirrors - len(BEHAVIOURS))
    sources = [Source(each.name, str(each.path), "fresh", made=each) for each in good]
    for number, behaviour in enumerate(BEHAVIOURS, start=len(good)):
        name = f"{behaviour}-{number:03}"
        bad = repositories.make_upstream(folder, seed=plan.seed, number=number, shape="plain", name=name)
        sources.append(Source(name, str(bad.path), "failed", behaviour=behaviour, made=bad))
    return sources


def take(plan: Plan) -> list[Source]:
    """Take the repositories of a list as they are; one that git itself cannot read is expected to fail."""
    sources: list[Source] = []
    for entry in plan.given:
        path = Path(entry)
        stem = path.parent.name if path.name == ".git" else path.name.removesuffix(".git")
        name = "".join(sign if (sign.isalnum() and sign.isascii()) or sign in "-_" else "-" for sign in stem)
        name = name.strip("-_") or "repository"
        taken = {source.name for source in sources}
        if name in taken:
            name = next(other for n in range(2, 10_000) if (other := f"{name}-{n}") not in taken)
        sources.append(Source(name, entry, "fresh" if _readable(entry) else "failed"))
    return sources


def _readable(entry: str) -> bool:
    try:
        git_facts.read(entry)
    except git_facts.Unreadable:
        return False
    return True


def write_server_file(path: Path, sources: list[Source]) -> None:
    """Write what the upstream server is to serve."""
    entries = {s.name: {"path": s.compare_with, "behaviour": s.behaviour} for s in sources if s.served}
    path.write_text(json.dumps(entries), encoding="utf-8")


def write_import_file(path: Path, sources: list[Source], *, server: str) -> None:
    """Write the list for `mirror import`."""
    rows = [{"url": source.url(server), "name": source.name, "group": GROUP} for source in sources]
    path.write_text(json.dumps(rows, indent=1), encoding="utf-8")


class Pushes:
    """The changes that are pushed while the stack runs: each to another mirror, each of the next kind."""

    def __init__(self, plan: Plan, sources: list[Source]) -> None:
        self._rng = Random(f"pushes/{plan.seed}")
        chosen = [source for source in sources if source.expected == "fresh" and source.made]
        self._waiting = self._rng.sample(chosen, plan.updates)
        self._number = 0

    def next(self, *, rounds_left: int) -> list[tuple[Source, Push]]:
        """Push to an even share of those that are still to come; everything in the last round."""
        share = -(-len(self._waiting) // rounds_left)
        now, self._waiting = self._waiting[:share], self._waiting[share:]
        return [(source, self._push(source)) for source in now]

    def _push(self, source: Source) -> Push:
        assert source.made
        kind = PUSH_KINDS[self._number % len(PUSH_KINDS)]
        self._number += 1
        return repositories.push_commits(source.made, seed=self._rng.randrange(1, 1000), kind=kind)
