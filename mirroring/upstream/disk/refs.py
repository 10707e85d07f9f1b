"""Reading and writing `packed-refs`, the one file that holds a mirror's refs, and following HEAD."""

import os
import re
from collections.abc import Mapping, Sequence
from itertools import compress
from operator import methodcaller, ne
from pathlib import Path

from mirroring.rules.outcomes import Outcome
from mirroring.upstream.errors import GitError
from mirroring.upstream.git.process import sanitize
from mirroring.upstream.policy.names import are_names, is_name

_OID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_COMPLETE = frozenset({"fully-peeled", "sorted"})
_HEADER = "# pack-refs with: peeled fully-peeled sorted "
LONGEST_NAME = 2_000
LONGEST_PART = 255
"""Bytes: git looks for each ref in a file of its name too, and no file system has longer ones."""


def is_id(oid: str) -> bool:
    """Say whether this names an object."""
    return _OID.match(oid) is not None and oid.strip("0") != ""


def below_another(refs: Mapping[str, str]) -> str:
    """Return a ref whose name makes a folder of another's, which git does not allow, or ""."""
    for name in refs:
        at = name.rfind("/")
        while at > 0:
            if name[:at] in refs:
                return name
            at = name.rfind("/", 0, at)
    return ""


def read(repository: Path) -> dict[str, str]:
    """Return name -> object id of all refs of a repository that has only packed ones."""
    lines = [line for line in _lines(repository) if line[0] not in "#^"]
    width = lines[0].index(" ") if lines else 0
    return {line[width + 1 :]: line[:width] for line in lines}


def packed(repository: Path) -> dict[str, str] | None:
    """Return name -> its text in `packed-refs`, which for a tag has its peeled value too; None if not all have."""
    header, *lines = _lines(repository) or [""]
    if not set(header.split()) >= _COMPLETE:
        return None
    entries = "\n".join(lines).replace("\n^", "\0^").split("\n") if lines else []
    width = entries[0].index(" ") + 1 if entries else 0
    found = {entry[width:]: entry for entry in entries}
    for both in [name for name in found if "\0" in name]:
        found[both.partition("\0")[0]] = found.pop(both).replace("\0", "\n")
    return found


def parse_listing(listing: str) -> tuple[str | None, dict[str, str]]:
    """Return what `git ls-remote --symref` printed: the branch that HEAD names, and name -> object id.

    What git does not allow as a name is left out, as git's own fetch leaves it out.
    """
    head, found = None, {}
    for line in listing.split("\n"):
        oid, _, name = line.partition("\t")
        if oid.startswith("ref: "):
            head = oid.removeprefix("ref: ") if name == "HEAD" else head
        elif name.startswith("refs/") and not name.endswith("^{}"):
            found[name] = oid
    if not are_names([_bytes(name) for name in found]):
        found = {name: oid for name, oid in found.items() if is_name(name)}
    return head, found


def digits(repository: Path) -> int:
    """Return how many digits the object ids of a repository have."""
    return 64 if "objectformat = sha256" in (repository / "config").read_text().lower() else 40


def check(wanted: Mapping[str, str], *, moved: Mapping[str, str], is_new: bool, repository: Path) -> None:
    """Raise GitError if a repository of ours cannot hold what an upstream lists.

    `moved`: what the repository does not hold yet; `is_new`: some of that has a name that is not there yet.
    """
    fault = _fault(moved, digits=digits(repository))
    if not fault and is_new and (name := below_another(wanted)):
        fault = f"{name[:200]} beside a ref in whose folder that would be"
    if fault:
        raise GitError(Outcome.TRANSIENT, f"nothing was changed here: the upstream lists {sanitize(fault)}")


def _fault(refs: Mapping[str, str], *, digits: int) -> str:
    for name, oid in refs.items():
        if not is_id(oid) or len(oid) != digits:
            return f"the object {oid[:80]}, which is no {'SHA-256' if digits == 64 else 'SHA-1'}"
        if len(name) > LONGEST_PART and _is_too_long(name.encode(errors="surrogateescape")):
            return f"a ref whose name is too long: {name[:80]}..."
    return ""


def _is_too_long(name: bytes) -> bool:
    return len(name) > LONGEST_NAME or any(len(part) > LONGEST_PART for part in name.split(b"/"))


def difference(before: Mapping[str, str], after: Mapping[str, str]) -> int:
    """Return how many refs were added, moved or dropped."""
    return len(after.keys() - before.keys()) + sum(
        map(bool, map(ne, map(after.get, before), before.values()))
    )


def moved(wanted: Mapping[str, str], *, here: Mapping[str, str]) -> dict[str, str]:
    """Return those of the refs that are new or point elsewhere than here."""
    differ = map(ne, map(here.get, wanted), wanted.values())
    return dict(compress(wanted.items(), differ))


def write(repository: Path, refs: Mapping[str, str]) -> None:
    """Write all refs of a repository that nobody reads yet; tags are not peeled."""
    lines = [f"{oid} {name}\n".encode(errors="surrogateescape") for name, oid in refs.items()]
    lines.sort(key=lambda line: line.partition(b" ")[2])
    (repository / "packed-refs").write_bytes(b"# pack-refs with: sorted \n" + b"".join(lines))


def write_packed(repository: Path, texts: Mapping[str, str]) -> None:
    """Write what `packed` returned, in git's order, to the disk."""
    names = sorted(texts, key=None if all(map(str.isascii, texts)) else _bytes)
    lines = [_HEADER, *(texts[name] for name in names), ""]
    with (repository / "packed-refs").open("wb") as file:
        file.write("\n".join(lines).encode(errors="surrogateescape"))
        file.flush()
        os.fsync(file.fileno())


def selected(refs: Mapping[str, str], refspecs: Sequence[str]) -> dict[str, str]:
    """Return the refs that a refspec selects."""
    simple = tuple(spec.rpartition(":")[2].removesuffix("*") for spec in refspecs if spec.endswith("*"))
    if len(simple) == len(refspecs) and not any("*" in start for start in simple):
        return dict(compress(refs.items(), map(methodcaller("startswith", simple), refs)))
    return {name: oid for name, oid in refs.items() if any(selects(spec, name) for spec in refspecs)}


def selects(refspec: str, name: str) -> bool:
    """Say whether a fetch refspec (`+src:dst`, with at most one `*`) writes the ref `name`."""
    target = refspec.rpartition(":")[2]
    start, star, end = target.partition("*")
    if not star:
        return name == target
    return name.startswith(start) and name.endswith(end) and len(name) >= len(start) + len(end)


def follow_head(staging: Path, head: str | None) -> bool:
    """Let the staged HEAD name the upstream's default branch, and say whether that is new."""
    if not head or not head.startswith("refs/heads/") or not is_name(head):
        return False
    line = f"ref: {head}\n"
    if (staging / "HEAD").read_text(errors="surrogateescape") == line:
        return False
    (staging / "HEAD").unlink()  # The file is shared with the one that readers see.
    (staging / "HEAD").write_text(line, errors="surrogateescape")
    return True


def _bytes(name: str) -> bytes:
    return name.encode(errors="surrogateescape")


def _lines(repository: Path) -> list[str]:
    try:
        text = (repository / "packed-refs").read_bytes().decode(errors="surrogateescape")
    except FileNotFoundError:
        return []
    # Split by hand: a name may hold what Python takes for the end of a line.
    return text.removesuffix("\n").split("\n") if text else []
