"""A fetch of little: asked for in process, on the connection on which the refs were listed, and indexed in one go.

`git fetch` starts four processes for one new commit, one of which sets up TLS and shakes hands again. Here one request
brings the pack, and one command does with it what `git fetch` does: each object is checked as it is indexed, and all
that the new refs lead to has to be here. What is larger, late, or not as it should be is left to `git fetch`, which
also has the words for what is wrong.
"""

import asyncio
import re
from collections.abc import Collection, Iterable, Mapping
from itertools import chain

from django.conf import settings

from mirroring.rules.outcomes import Outcome
from mirroring.upstream.client.dialing import Unsupported
from mirroring.upstream.client.loop import LOOP
from mirroring.upstream.client.protocol import FLUSH, BadAnswer, ObjectFormat, packet
from mirroring.upstream.disk import refs
from mirroring.upstream.errors import GitError
from mirroring.upstream.git.environment import TOLERATED, environment, within
from mirroring.upstream.git.process import run
from mirroring.upstream.transfer.listing import Listed, target_of
from mirroring.upstream.transfer.relisting import WAYS, post
from mirroring.upstream.transfer.session import Session

LARGEST = 1024 * 1024
"""Bytes of an answer; a larger one is asked for again, by git."""

MOST = 256
"""Objects asked for, and refs to peel."""

SECONDS = 20.0
"""For the answer: a server that thinks for longer is left to git, which waits by other rules."""

# With one shell for both. What git may say goes nowhere: whatever fails is done again by git.
_INDEX = (
    'git=$1 at=$2 && shift 2 && tied "$git" "$at" index-pack --stdin --fix-thin --strict={} >/dev/null'
    ' && exec "$git" "$at" rev-list --objects "$@" --'
).format(",".join(f"{fault}=ignore" for fault in TOLERATED))

_BEGINNING = packet(b"packfile\n")
_LENGTH = re.compile(rb"[0-9a-f]{4}")


def bring(
    session: Session,
    listed: Listed,
    missing: Collection[str],
    *,
    known: Mapping[str, str],
    unpeeled: Mapping[str, str],
) -> dict[str, str] | None:
    """Bring objects, and return refs as git packs them, with what their tags lead to. None: nothing was brought.

    `known`: refs from which what is new descends.
    """
    asks = listed.way in WAYS and known
    if not asks or max(len(missing), len(unpeeled)) > MOST:
        return None
    body = request(missing, known=set(known.values()), object_format=listed.object_format)
    try:
        pack = LOOP.run(_ask(session, body), seconds=min(session.left().total_seconds(), SECONDS))
    except (OSError, TimeoutError, asyncio.CancelledError, BadAnswer, Unsupported):
        return None
    try:
        commits = _indexed(session, pack, missing, known=known)
        return _packed(session, unpeeled, commits=commits)
    except GitError:
        for file in (session.staging / "objects" / "pack").iterdir():
            file.unlink()
        return None


def request(missing: Iterable[str], *, known: Iterable[str], object_format: ObjectFormat) -> bytes:
    """Return the request for objects, with all that they lead to but for what `known` leads to."""
    named = (
        [] if object_format is ObjectFormat.SHA1 else [packet(f"object-format={object_format}\n".encode())]
    )
    wants = (f"want {oid}" for oid in sorted(missing))
    haves = (f"have {oid}" for oid in sorted(known))
    lines = chain(["thin-pack", "no-progress", "ofs-delta"], wants, haves, ["done"])
    said = (packet(f"{line}\n".encode()) for line in lines)
    return b"".join([packet(b"command=fetch\n"), *named, b"0001", *said, FLUSH])


async def _ask(session: Session, body: bytes) -> bytes:
    target, dial = target_of(session.contact), lambda: session.contact.addresses
    return read_pack(await post(LOOP.pool, target, body, most=LARGEST, dial=dial))


def read_pack(answer: bytes) -> bytes:
    """Return the pack that an answer to `fetch` consists of. Raise BadAnswer where it has something else, too."""
    if not answer.startswith(_BEGINNING) or not answer.endswith(FLUSH):
        raise BadAnswer("the answer is no pack, or breaks off")
    at, end, parts = len(_BEGINNING), len(answer) - len(FLUSH), []
    while at < end:
        length = int(answer[at : at + 4], 16) if _LENGTH.match(answer, at) else 0
        if length < 5 or at + length > end:
            raise BadAnswer("the answer breaks off, or has a packet of impossible length")
        band, data = answer[at + 4], answer[at + 5 : at + length]
        if band not in {1, 2}:
            raise BadAnswer("the server broke off with an error")
        parts += [data] if band == 1 else []  # The other one is for eyes.
        at += length
    return b"".join(parts)


def _indexed(session: Session, pack: bytes, missing: Iterable[str], *, known: Mapping[str, str]) -> set[str]:
    """Index a pack in the staging repository, see that nothing is missing, and return which commits are new."""
    watch = session.watch()
    revisions = [*sorted(missing), *(f"^{oid}" for oid in sorted(set(known.values())))]
    said = run(
        [settings.GIT, within(session.staging), *revisions],
        script=_INDEX,
        environment=environment(),
        timeout=session.left(),
        stop=session.stop,
        limits=watch.limits,
        watch=watch,
        given=pack,
    )
    return {line for line in said.split("\n") if " " not in line}  # What is no commit has a name beside it.


def _packed(session: Session, unpeeled: Mapping[str, str], *, commits: Collection[str]) -> dict[str, str]:
    """Return refs as git packs them. What leads to one of these commits need not be peeled."""
    others = {name: oid for name, oid in unpeeled.items() if oid not in commits}
    found = _peeled(session, others.values()) if others else []
    if len(found) != len(others) or not all(map(refs.is_id, found)):
        raise GitError(Outcome.CORRUPT, "git could not peel all refs that the upstream lists")
    targets = dict(zip(others, found, strict=True))
    return {
        name: f"{oid} {name}" + (f"\n^{targets[name]}" if targets.get(name, oid) != oid else "")
        for name, oid in unpeeled.items()
    }


def _peeled(session: Session, oids: Iterable[str]) -> list[str]:
    said = run(
        [settings.GIT, within(session.staging), "cat-file", "--batch-check=%(objectname)"],
        environment=environment(),
        timeout=session.left(),
        stop=session.stop,
        limits=session.watch().limits,
        given="".join(f"{oid}^{{}}\n" for oid in oids).encode(),
    )
    return said.splitlines()
