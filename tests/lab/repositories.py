"""Upstream repositories made from a seed: offline, in seconds, the same each time."""

from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.lab import fast_import, shapes
from tests.lab.fast_import import EPOCH, Stream

# Pushed commits are younger than all of the first history, whatever the seed.
PUSHED_FROM = EPOCH + 400_000_000

# From this many refs on, a repository is packed, as real servers do.
PACK_FROM = 100

PUSH_KINDS = ("commit", "branch", "tag", "delete", "force", "head")


@dataclass(frozen=True)
class Upstream:
    """One upstream repository: where it is and what it looks like."""

    name: str
    path: Path
    shape: str
    default_branch: str
    heads: int
    tags: int
    pulls: int


@dataclass(frozen=True)
class Push:
    """One change of an upstream: which ref moved, and where to (empty: it was deleted)."""

    name: str
    kind: str
    ref: str
    target: str


def make_upstreams(root: Path, *, seed: int, count: int) -> list[Upstream]:
    """Make `count` bare repositories of varied shape below `root`; the same seed makes the same objects."""
    return [make_upstream(root, seed=seed, number=number) for number in range(count)]


def make_upstream(root: Path, *, seed: int, number: int, shape: str = "", name: str = "") -> Upstream:
    """Make one bare repository; the number chooses the shape if none is given, shape and number the name."""
    shape = shape or shapes.shape_of(number)
    name = name or f"{shape}-{number:03}"
    path = root / f"{name}.git"
    stream = Stream(Random(f"{seed}/{name}"))
    branch = shapes.SHAPES[shape](stream)
    fast_import.make_bare(path, head=branch)
    if shape != "empty":
        fast_import.feed(path, stream)
    upstream = describe(path, shape=shape)
    if upstream.heads + upstream.tags + upstream.pulls >= PACK_FROM:
        fast_import.run(path, "pack-refs", "--all")
    return upstream


def describe(path: Path, *, shape: str = "given") -> Upstream:
    """Look at a bare repository and say what is in it."""
    refs = fast_import.run(path, "for-each-ref", "--format=%(refname)").split("\n") if _has_refs(path) else []
    return Upstream(
        name=path.name.removesuffix(".git"),
        path=path,
        shape=shape,
        default_branch=_default_branch(path),
        heads=sum(ref.startswith("refs/heads/") for ref in refs),
        tags=sum(ref.startswith("refs/tags/") for ref in refs),
        pulls=sum(ref.startswith("refs/pull/") for ref in refs),
    )


def push_commits(upstream: Upstream, *, seed: int, kind: str = "commit") -> Push:
    """Change an upstream as a push would; `kind` is one of PUSH_KINDS.

    `commit` adds to the default branch and makes it where there is none; `force` rewrites its last
    commit; `head` makes a new branch the default one; `delete` removes a branch, or adds a commit
    where no other branch is left.
    """
    branch = _default_branch(upstream.path)
    if kind == "delete":
        others = sorted(set(_branches(upstream.path)) - {branch})
        if others:
            ref = f"refs/heads/{Random(seed).choice(others)}"
            fast_import.run(upstream.path, "update-ref", "-d", ref)
            return Push(name=upstream.name, kind=kind, ref=ref, target="")
        kind = "commit"
    return _push(upstream, kind=kind, seed=seed, branch=branch)


def _push(upstream: Upstream, *, kind: str, seed: int, branch: str) -> Push:
    stream = Stream(Random(f"{seed}/{upstream.name}/{kind}"), start=PUSHED_FROM + seed * 10_000)
    ref = f"refs/heads/pushed-{seed}" if kind in ("branch", "head") else f"refs/heads/{branch}"
    parents = _parents(upstream.path, branch, back=1 if kind == "force" else 0)
    commit = stream.commit(ref, files={f"pushed-{seed}.txt": stream.text()}, parents=parents)
    if kind == "tag":
        ref = f"refs/tags/pushed-{seed}"
        stream.tag(f"pushed-{seed}", commit)
    fast_import.feed(upstream.path, stream)
    if kind == "head":
        fast_import.run(upstream.path, "symbolic-ref", "HEAD", ref)
    target = fast_import.run(upstream.path, "rev-parse", "--verify", ref).strip()
    return Push(name=upstream.name, kind=kind, ref=ref, target=target)


def _parents(path: Path, branch: str, *, back: int) -> tuple[str, ...]:
    if branch not in _branches(path):
        return ()
    line = fast_import.run(path, "rev-list", f"--max-count={back + 1}", f"refs/heads/{branch}", "--").split()
    return (line[-1],) if len(line) > back else ()


def _branches(path: Path) -> list[str]:
    lines = fast_import.run(path, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/").split("\n")
    return [line for line in lines if line]


def _default_branch(path: Path) -> str:
    head = (path / "HEAD").read_text(encoding="utf-8").strip()
    return head.removeprefix("ref: refs/heads/")


def _has_refs(path: Path) -> bool:
    return (path / "packed-refs").exists() or any(file.is_file() for file in (path / "refs").rglob("*"))
