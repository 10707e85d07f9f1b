"""One import: list the upstream, fetch into the staging repository, let readers see all refs at one instant."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from mirroring.rules.hosts import Signal
from mirroring.rules.outcomes import Outcome
from mirroring.upstream.access import contact, redirects
from mirroring.upstream.access.contact import Contact
from mirroring.upstream.client.probe import Way
from mirroring.upstream.client.protocol import ObjectFormat
from mirroring.upstream.disk import divergence, folders, packing, refs
from mirroring.upstream.disk.repository import fenced
from mirroring.upstream.errors import Blocked, GitError
from mirroring.upstream.git.bounds import PAGE, shortage
from mirroring.upstream.git.process import StopHandle
from mirroring.upstream.transfer import listing
from mirroring.upstream.transfer.listing import Listed
from mirroring.upstream.transfer.session import Order, Remaining, Session
from mirroring.upstream.transfer.staging import stage
from mirroring.upstream.transfer.ways import WAYS_OF_HOSTS

_OF_WHAT_WAS_LISTED = frozenset({Outcome.TRANSIENT, Outcome.CORRUPT, Outcome.DIVERGED})
_UNWELL = frozenset({Signal.UNREACHABLE, Signal.OVERLOADED})


@dataclass(frozen=True)
class Fetched:
    """What an import brought."""

    refs_changed: int
    moved_to: str = ""
    """The URL to which the upstream redirects for good."""

    digest: bytes | None = None
    """Of the listing, if all of what it lists is here now."""

    way: str = ""
    listed_at: datetime | None = None
    """When a check asked for what is here now; None: it was asked for by the import."""

    @property
    def outcome(self) -> Outcome:
        """Return the class of a success."""
        return Outcome.CHANGED if self.refs_changed else Outcome.UNCHANGED


def fetch(order: Order, *, still_ours: Callable[[], bool], stop: StopHandle) -> Fetched:
    """Bring the repository up to date. Killed at any instant, it leaves the refs as they were."""
    left = Remaining(order.timeout)
    if short := shortage(order.bounds.disk_floor_mb):
        raise GitError(Outcome.RESOURCE, f"not started: {short}")
    target = contact.to(order.url, route_to=order.route_to, secret=order.secret)
    repository = order.repository
    repository.revoke(before=order.epoch)
    before = refs.read(repository.path)  # Nobody else writes them any more.
    probed = _probed(order, target, left=left, here=before)
    repository.make(stop=stop, object_format=probed.object_format if probed else ObjectFormat.SHA1)
    staging = repository.staging(order.epoch)
    session = Session(order=order, contact=target, staging=staging, left=left, stop=stop)
    try:
        repository.stage(order.epoch, afresh=order.afresh)
        listed, brought, session, moved_to = _brought(session, probed, here=before)
        after = brought.refs
        head_moved = refs.follow_head(staging, brought.head)
        if after != before or head_moved or order.afresh or not repository.packed_refs.exists():
            _publish(session, still_ours=still_ours)
        # What moved between listing and fetch, refs or HEAD, may move back: then a check would see no change, and be
        # wrong. And checks follow no redirect to another host.
        is_whole = brought is listed and redirects.same_host(session.contact.url, target.url)
        digest = listed.digest if order.probes and is_whole else None
        changed = refs.difference(before, after)
        return Fetched(changed, moved_to, digest=digest, way=listed.way, listed_at=brought.heard_at)
    except FileNotFoundError:
        if staging.exists():
            raise
        raise fenced() from None
    finally:
        folders.remove(staging)


def _publish(session: Session, *, still_ours: Callable[[], bool]) -> None:
    """Let readers see what is staged, and then roll packs up, if it is time."""
    order, left = session.order, session.left
    left.check()
    brought = order.repository.publish(order.epoch, still_ours=still_ours, afresh=order.afresh)
    packing.roll_up(
        order.repository,
        order.epoch,
        brought=brought,
        bounds=order.bounds,
        left=left(),
        still_ours=still_ours,
        stop=session.stop,
    )


def _probed(order: Order, target: Contact, *, left: Remaining, here: Mapping[str, str]) -> Listed | None:
    """Return what the upstream lists when asked in process, if that is wanted and works."""
    if not order.probes:
        return None
    seconds = left().total_seconds()
    return listing.in_process(
        target, order.refspecs, left=seconds, way=order.way, here=here, handed=order.handed
    )


def _brought(
    session: Session, probed: Listed | None, *, here: Mapping[str, str]
) -> tuple[Listed, Listed, Session, str]:
    """Return what the upstream lists and what is staged then, the session to go on with, and the URL it has moved to.

    What a check heard may be true no more: if it cannot be brought, the upstream is asked, and tried again if it says
    something else.
    """
    order, target = session.order, session.contact
    listed, going_on, moved_to = _listed(session, probed)
    if order.probes and probed is None and listed.way is Way.GIT and going_on.contact is target:
        WAYS_OF_HOSTS.failed(target.origin)
    if listed.is_empty:
        _check_empty(going_on, had_refs=bool(here))
    try:
        brought = stage(going_on, listed, here={} if order.afresh else here)
        if order.keeps_branches:
            left, stop = session.left, session.stop
            divergence.refuse(session.staging, before=here, after=brought.refs, left=left, stop=stop)
    except GitError as error:
        if listed.heard_at is None or error.outcome not in _OF_WHAT_WAS_LISTED or error.signal in _UNWELL:
            raise
        afresh = replace(session, order=replace(order, handed=None))
        now = _probed(afresh.order, target, left=session.left, here=here)
        if now is not None and (now.refs, now.head) == (listed.refs, listed.head):
            raise
        return _brought(afresh, now, here=here)
    return listed, brought, going_on, moved_to


def _listed(session: Session, probed: Listed | None) -> tuple[Listed, Session, str]:
    """Return what the upstream lists, the session to go on with, and the URL to which it has moved for good, if any.

    Of an upstream that lists none of the selected refs git is asked, which sees them all. Git itself never follows a
    redirect. Where it meets one, we do, and it is asked again at the end of the way.
    """
    if probed is not None and probed.refs:
        return probed, session, ""
    refspecs = session.order.refspecs
    try:
        return listing.of_text(session.list(), refspecs, url=session.contact.url), session, ""
    except GitError as error:
        if not redirects.met(error):
            raise _explained(error, session.contact) from None
    followed = redirects.follow(session.contact, route_to=session.order.route_to)
    session = replace(session, contact=followed.contact)
    moved_to = followed.contact.url.url if followed.permanent else ""
    return listing.of_text(session.list(), refspecs, url=session.contact.url), session, moved_to


def _explained(error: GitError, contact: Contact) -> GitError:
    """Return a failure with its remedy, where git's words have none."""
    if "host key verification failed" not in error.detail.lower():
        return error
    host = contact.url.host
    return Blocked(
        f"the server of {host} shows a host key that is not one of those pinned for it. If the change was announced, "
        f"compare and accept the new one: `manage.py host keys {host}`"
    )


def _check_empty(session: Session, *, had_refs: bool) -> None:
    """Believe an empty listing only of a git server, and only of one that never listed anything.

    Of a web page in the place of a repository git makes a repository without refs, by its older protocol; it is
    asked again, with its packets written down: a page sends none.
    """
    if had_refs:
        raise GitError(
            Outcome.EMPTIED, "the upstream lists no refs at all, though it had some: nothing was changed"
        )
    trace = session.staging / "packets"
    session.list(trace=trace)
    if not _heard_a_packet(trace):
        raise GitError(
            Outcome.GONE, "the upstream answers, but not as a git server: see that the URL is right"
        )


def _heard_a_packet(trace: Path) -> bool:
    """Say whether a server sent one. The first is at the beginning, and how much follows is for the server to say."""
    if not trace.exists():
        return False
    with trace.open("rb") as written:
        return b"<" in written.read(PAGE)
