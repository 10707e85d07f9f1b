"""The shapes of repositories that the lab knows: each writes its history and names its default branch."""

from collections.abc import Callable

from tests.lab.fast_import import Stream

UNICODE_NAMES = ("größe", "ветка", "日本語", "été/naïve", "emoji-🚀", "ελληνικά")


def history(
    stream: Stream, branch: str, *, commits: int, prefix: str = "", start: int | None = None
) -> list[int]:
    """Write a line of commits on a branch and return their marks."""
    marks: list[int] = []
    parent = start
    for number in range(commits):
        path = f"{prefix}file-{stream.rng.randrange(12)}.txt"
        parent = stream.commit(
            f"refs/heads/{branch}",
            files={path: f"{number}\n{stream.text(size=stream.rng.randrange(100, 900))}"},
            parents=() if parent is None else (parent,),
        )
        marks.append(parent)
    return marks


def plain(stream: Stream) -> str:
    """A main branch, some tags, some pull requests."""
    marks = history(stream, "main", commits=stream.rng.randrange(5, 40))
    stream.point("refs/tags/v0.1", marks[0])
    stream.tag("v1.0", marks[-1])
    pull_requests(stream, marks, count=stream.rng.randrange(0, 4))
    return "main"


def branches(stream: Stream) -> str:
    """Many branches, each with a commit of its own."""
    marks = history(stream, "main", commits=20)
    for number in range(stream.rng.randrange(20, 60)):
        history(stream, f"topic-{number:03}", commits=1, prefix="topic/", start=stream.rng.choice(marks))
    return "main"


def tags(stream: Stream) -> str:
    """Many annotated and light tags."""
    marks = history(stream, "main", commits=30)
    for number, mark in enumerate(marks):
        stream.tag(f"v1.{number}.0", mark)
        stream.point(f"refs/tags/build-{number}", mark)
    return "main"


def merges(stream: Stream) -> str:
    """Merge commits, one of them with three parents."""
    trunk = history(stream, "main", commits=6)
    for number in range(stream.rng.randrange(3, 8)):
        side = history(stream, f"side-{number}", commits=3, prefix=f"side-{number}/", start=trunk[-1])
        other = history(stream, f"other-{number}", commits=2, prefix=f"other-{number}/", start=trunk[-2])
        both = (trunk[-1], side[-1], other[-1]) if number == 0 else (trunk[-1], side[-1])
        files = {f"merged-{number}.txt": stream.text()}
        trunk.append(stream.commit("refs/heads/main", files=files, parents=both))
    return "main"


def unicode(stream: Stream) -> str:
    """Branches, tags and files with names beyond ASCII."""
    marks = history(stream, "main", commits=8, prefix="ünï cödé/")
    for name in UNICODE_NAMES:
        stream.point(f"refs/heads/{name}", stream.rng.choice(marks))
        stream.point(f"refs/tags/tag-{name}", stream.rng.choice(marks))
    return "main"


def pulls(stream: Stream) -> str:
    """Pull requests whose commits are on no branch, as the big forges keep them."""
    marks = history(stream, "main", commits=10)
    pull_requests(stream, marks, count=stream.rng.randrange(10, 40))
    return "main"


def pull_requests(stream: Stream, marks: list[int], *, count: int) -> None:
    """Write `refs/pull/N/head` and `refs/pull/N/merge`."""
    for number in range(1, count + 1):
        head = stream.commit(
            f"refs/pull/{number}/head",
            files={"proposal.txt": stream.text()},
            parents=(stream.rng.choice(marks),),
        )
        files = {"proposal.txt": stream.text()}
        stream.commit(f"refs/pull/{number}/merge", files=files, parents=(marks[-1], head))


def trunk(stream: Stream) -> str:
    """A default branch that is not called main, beside one that is."""
    name = stream.rng.choice(("trunk", "develop", "master", "stable/2.x"))
    marks = history(stream, name, commits=12)
    history(stream, "main", commits=2, start=marks[3])
    pull_requests(stream, marks, count=2)
    return name


def nested(stream: Stream) -> str:
    """Files in deep folders."""
    marks = history(
        stream, "main", commits=15, prefix="/".join(f"level-{number}" for number in range(12)) + "/"
    )
    stream.tag("deep", marks[-1])
    return "main"


def tag_only(stream: Stream) -> str:
    """Tags and no branch at all: HEAD points at a branch that was never born."""
    first = stream.commit("refs/tags/v1", files={"only.txt": stream.text()})
    second = stream.commit("refs/tags/v2", files={"only.txt": stream.text()}, parents=(first,))
    stream.tag("v2-signed", second)
    return "main"


def deep(stream: Stream) -> str:
    """Branch names with many levels."""
    marks = history(stream, "main", commits=10)
    for name in (
        "feature/a/b",
        "feature/a/c",
        "feature/d",
        "release/2024/q1/hotfix/one",
        "user/ada/wip/x/y/z",
    ):
        history(stream, name, commits=2, start=stream.rng.choice(marks))
    return "main"


def big(stream: Stream) -> str:
    """Some thousand commits, some megabytes, about a thousand refs."""
    marks: list[int] = []
    for number in range(3000):
        path = f"src/part-{number % 40}/module-{number % 200}.dat"
        content = f"{number}\n{stream.rng.randbytes(700).hex()}\n"
        parents = (marks[-1],) if marks else ()
        marks.append(stream.commit("refs/heads/main", files={path: content}, parents=parents))
    for number in range(500):
        stream.point(f"refs/heads/wip/{number:04}", stream.rng.choice(marks))
    for number in range(200):
        stream.point(f"refs/tags/nightly-{number}", stream.rng.choice(marks))
    for number in range(300):
        stream.point(f"refs/pull/{number}/head", stream.rng.choice(marks))
    return "main"


def empty(stream: Stream) -> str:
    """Nothing yet."""
    return "main"


# Shapes of which a set holds one each, then those that come again and again.
ONCE: dict[str, Callable[[Stream], str]] = {"empty": empty, "big": big}
RECURRING: dict[str, Callable[[Stream], str]] = {
    "plain": plain,
    "branches": branches,
    "tags": tags,
    "merges": merges,
    "unicode": unicode,
    "pulls": pulls,
    "trunk": trunk,
    "nested": nested,
    "tag-only": tag_only,
    "deep": deep,
}
SHAPES = ONCE | RECURRING


def shape_of(number: int) -> str:
    """Return the shape of the repository with this number: the recurring ones first, then one of each special."""
    recurring, once = list(RECURRING), list(ONCE)
    if number < len(recurring):
        return recurring[number]
    if number < len(recurring) + len(once):
        return once[number - len(recurring)]
    return recurring[(number - len(once)) % len(recurring)]
