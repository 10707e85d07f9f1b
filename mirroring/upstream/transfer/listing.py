"""What an upstream lists, asked in the quickest way that works: in process, or with git."""

import asyncio
import math
import time
from collections.abc import Collection, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from mirroring.models import Host
from mirroring.rules.outcomes import Outcome
from mirroring.upstream.access import contact, redirects, ssh_sharing
from mirroring.upstream.access.contact import Contact, Route, origin_of, route_of
from mirroring.upstream.access.credentials import Secret, SecretKind
from mirroring.upstream.client import protocol
from mirroring.upstream.client.asks import ANSWER_SECONDS, Ask
from mirroring.upstream.client.dialing import Unsupported
from mirroring.upstream.client.loop import LOOP
from mirroring.upstream.client.masters import Masters
from mirroring.upstream.client.probe import Found, Heard, Question, Refused, Way, digest_of, look
from mirroring.upstream.client.protocol import BadAnswer, Listing, ObjectFormat
from mirroring.upstream.client.target import Target, authorization
from mirroring.upstream.disk import refs
from mirroring.upstream.errors import GitError
from mirroring.upstream.git.process import StopHandle
from mirroring.upstream.policy.urls import UpstreamURL
from mirroring.upstream.transfer.asking import Git
from mirroring.upstream.transfer.handed import Handed
from mirroring.upstream.transfer.relisting import WAYS, digest_of_answer, relist
from mirroring.upstream.transfer.relisting import read as quickly
from mirroring.upstream.transfer.ways import WAYS_OF_HOSTS

IN_PROCESS_SECONDS = 60.0
CHECK_BY_GIT = timedelta(seconds=60)
_WIDE = 64
_UNHEARD = (OSError, TimeoutError, asyncio.CancelledError, BadAnswer, Refused, Unsupported)


@dataclass(frozen=True)
class Listed:
    """The refs that an upstream lists, of those that the refspecs select, and how that was asked.

    `digest`: what a check that finds the very same would find. `is_empty`: it lists nothing, selected or not.
    """

    refs: dict[str, str]
    head: str | None
    way: Way
    digest: bytes
    object_format: ObjectFormat
    is_empty: bool = False
    heard_at: datetime | None = None
    """When a check asked for it; None: it was asked for by the import itself."""


def in_process(
    target: Contact,
    refspecs: Sequence[str],
    *,
    left: float,
    way: str = "",
    here: Collection[str] = (),
    handed: Handed | None = None,
) -> Listed | None:
    """Return what the upstream lists; None where only git can tell, or say what is wrong.

    `left`: seconds; `way`: how it was listed last; `here`: the names of refs that are here; `handed`: what a check was
    answered. Of a mirror that was not listed in process yet, what was seen of others of its host decides.
    """
    if target.url.scheme not in {"http", "https"}:
        return None
    others = WAYS_OF_HOSTS.of(target.origin)
    if others is Way.GIT and way in {"", Way.GIT}:
        return None
    listed = _in_process(target, refspecs, left=left, way=way or others or "", here=here, handed=handed)
    if listed is not None:
        WAYS_OF_HOSTS.worked(target.origin, listed.way)
    return listed


def _in_process(
    target: Contact,
    refspecs: Sequence[str],
    *,
    left: float,
    way: str,
    here: Collection[str],
    handed: Handed | None,
) -> Listed | None:
    until = time.monotonic() + min(left, IN_PROCESS_SECONDS)
    if way in WAYS:
        question = Question(target_of(target), tuple(refspecs), Way(way))
        listed = _heard(question, here, handed) or _again(question, here, until=until, contact=target)
        if listed is not None:
            return listed
    work = look(LOOP.pool, target_of(target), tuple(refspecs), dial=lambda: target.addresses)
    try:
        found: Found = LOOP.run(work, seconds=max(0.01, until - time.monotonic()))
    except _UNHEARD:
        return None
    return _selected(found.listing, refspecs, way=found.way, digest=found.digest)


def _heard(question: Question, here: Collection[str], handed: Handed | None) -> Listed | None:
    """Return what the upstream listed when a check asked it the very same."""
    if handed is None or not handed.answers(question):
        return None
    with suppress(BadAnswer):  # It is asked again.
        return replace(_read(question, handed.answer, here), heard_at=handed.asked_at)
    return None


def _again(question: Question, here: Collection[str], *, until: float, contact: Contact) -> Listed | None:
    """Return what the upstream lists if it still answers in this way."""
    work = relist(LOOP.pool, question, dial=lambda: contact.addresses)
    try:
        return _read(question, LOOP.run(work, seconds=until - time.monotonic()), here)
    except _UNHEARD:
        return None


def _read(question: Question, answer: bytes, here: Collection[str]) -> Listed:
    refspecs, way, digest = question.refspecs, question.way, digest_of_answer(question, answer)
    read = quickly(answer, digits=way.object_format.digits, known=here)
    if read is None:
        said = protocol.read_ls_refs(answer, object_format=way.object_format)
        return _selected(said, refspecs, way=way, digest=digest)
    head, found = read
    named = refs.selected(found, refspecs)
    return Listed(named, head, way, digest, way.object_format, is_empty=not found and not head)


def of_text(text: str, refspecs: Sequence[str], *, url: UpstreamURL) -> Listed:
    """Return what `git ls-remote` printed."""
    way = Way.SSH if url.scheme == "ssh" else Way.GIT
    head, found = refs.parse_listing(text)
    wide = any(len(oid) == _WIDE for oid in found.values())
    listing = Listing(
        refs={_bytes(name): oid.encode() for name, oid in found.items()},
        head=_bytes(head) if head else None,
        object_format=ObjectFormat.SHA256 if wide else ObjectFormat.SHA1,
    )
    return _selected(listing, refspecs, way=way, digest=digest_of(listing, tuple(refspecs)))


def _selected(listing: Listing, refspecs: Sequence[str], *, way: Way, digest: bytes) -> Listed:
    named = dict(zip(_texts(listing.refs), _texts(listing.refs.values()), strict=True))
    return Listed(
        refs=refs.selected(named, refspecs),
        head=_text(listing.head) if listing.head else None,
        way=way,
        digest=digest,
        object_format=listing.object_format,
        is_empty=not listing.refs and not listing.head,
    )


def _bytes(name: str) -> bytes:
    return name.encode(errors="surrogateescape")


def _texts(names: Iterable[bytes]) -> list[str]:
    """Return all names as text, at once; none of them holds the end of a line."""
    joined = _text(b"\n".join(names))
    return joined.split("\n") if joined else []


def _text(name: bytes) -> str:
    return name.decode(errors="surrogateescape")


def target_of(contact: Contact) -> Target:
    """Return a repository as a probe asks for it."""
    return Target(contact.origin, contact.url.path, _said(contact.secret))


def _said(secret: Secret | None) -> bytes:
    if secret is None or secret.kind is not SecretKind.BASIC:
        return b""
    return authorization(secret.username, secret.password)


@dataclass(frozen=True)
class Known:
    """What is to be asked of whom, and how. Mirrors for which all of this is the same share one answer."""

    url: UpstreamURL
    host: Host
    refspecs: tuple[str, ...]
    way: Way
    secret: Secret | None = None

    def ask(self, *, for_whom: object, until: float = math.inf, patience: float = ANSWER_SECONDS) -> Ask:
        """Return the check. Which address may be contacted is asked when a connection is opened."""
        route = route_of(self.host)
        target = Target(origin_of(self.url, route), self.url.path, _said(self.secret))
        over_ssh = None
        if self.url.scheme == "ssh":
            over_ssh = partial(self._over_ssh, ssh_sharing.shared_by(self.url, route, self.secret))
        question = Question(target, self.refspecs, self.way)
        return Ask(question, self._dial, self._by_git, over_ssh, for_whom, until, patience)

    def _contact(self) -> Contact:
        return contact.to(self.url, route_to=self._route_to, secret=self.secret)

    def _route_to(self, host: str) -> Route:
        if host != self.host.name:
            raise GitError(Outcome.TRANSIENT, f"the upstream redirects to {host}: only imports follow there")
        return route_of(self.host)

    def _dial(self) -> Sequence[str]:
        return self._contact().addresses

    async def _over_ssh(self, key: Hashable, masters: Masters) -> Heard:
        path = ssh_sharing.path_of(self.url)
        found, size = await masters.list(key, path, self.refspecs, start=self._master)
        return Heard(digest_of(found, self.refspecs), size)

    def _master(self) -> ssh_sharing.Master:
        return ssh_sharing.start(self._contact())

    def _by_git(self) -> Heard:
        """Have git list the upstream, at the end of the way where it redirects within its host."""
        target = self._contact()
        with TemporaryDirectory(prefix="mirroring-check-") as folder:
            try:
                text = _text_of(target, Path(folder))
            except GitError as error:
                if not redirects.met(error):
                    raise
                followed = redirects.follow(target, route_to=self._route_to)
                text = _text_of(followed.contact, Path(folder))
        return Heard(of_text(text, self.refspecs, url=self.url).digest, size=len(text))


def _text_of(target: Contact, folder: Path) -> str:
    # At the root, so that git does not take the configuration of a repository that it happens to stand in.
    git = Git(target, ("-C", "/"), folder, left=lambda: CHECK_BY_GIT, stop=StopHandle())
    return git.list(idle=CHECK_BY_GIT)
