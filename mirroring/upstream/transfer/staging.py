"""Bringing what an upstream listed into the staging repository: objects that are missing, and all refs as one file.

Git would make a file of each ref that is new: of 100,000, minutes on a busy machine, and as long to remove. And it
looks at each ref that it knows, several times: with one new commit beside 50,000 refs, that is nearly all of its time.
So it is asked for objects by their ids, told of few refs that are here, and given only the refs that moved to peel.
"""

from collections.abc import Mapping
from itertools import chain, islice

from mirroring.rules.hosts import Signal
from mirroring.rules.outcomes import Outcome
from mirroring.upstream.disk import refs
from mirroring.upstream.errors import GitError
from mirroring.upstream.transfer import listing, small
from mirroring.upstream.transfer.listing import Listed
from mirroring.upstream.transfer.session import Session

KNOWN = 64
"""Refs of which git is told that they are here. What only the others reach may come a second time, in a new pack."""


def stage(session: Session, listed: Listed, *, here: Mapping[str, str]) -> Listed:
    """Bring what was listed into the staging repository, where the refs `here` were; return what is there then.

    An upstream may have moved meanwhile, and no longer give what it listed: if it lists something else now, that is
    tried, once.
    """
    if listed.refs == here:
        return listed
    packed = (refs.packed(session.order.repository.path) or {}) if here else {}
    try:
        _bring(session, listed, here=here, packed=packed)
    except GitError as error:
        if listed.heard_at or (error.outcome, error.signal) != (Outcome.TRANSIENT, Signal.NONE):
            raise
        again = listing.of_text(session.list(), session.order.refspecs, url=session.contact.url)
        if again.is_empty or (again.refs, again.head) == (listed.refs, listed.head):
            raise
        _bring(session, again, here=here, packed=packed)
        return again
    return listed


def _bring(session: Session, listed: Listed, *, here: Mapping[str, str], packed: Mapping[str, str]) -> None:
    """Bring a listing. `packed`: what is here, as git packs it; of what is missing there the tags are peeled anew."""
    _suit(session, listed)
    wanted = listed.refs
    moved = refs.moved(wanted, here=here)
    is_new = not moved.keys() <= here.keys()
    refs.check(wanted, moved=moved, is_new=is_new, repository=session.staging)
    kept = dict(packed)
    for name in chain(packed.keys() - wanted.keys(), packed.keys() & moved.keys()):
        del kept[name]
    unpeeled = {name: wanted[name] for name in wanted.keys() - kept.keys()}
    peeled: dict[str, str] | None = None if unpeeled else {}
    if missing := set(moved.values()).difference(here.values()):
        known = _known(listed, moved, here=here)
        peeled = small.bring(session, listed, missing, known=known, unpeeled=unpeeled)
        if peeled is None:
            refs.write(session.staging, known)
            session.fetch(missing, first=not here)
    refs.write_packed(session.staging, kept | (_peeled(session, unpeeled) if peeled is None else peeled))


def _suit(session: Session, listed: Listed) -> None:
    """Stage in the object format of the upstream, which git tells only by what is listed, while no refs are here."""
    order = session.order
    if listed.object_format.digits != refs.digits(session.staging) and not refs.read(order.repository.path):
        order.repository.restage(order.epoch, object_format=listed.object_format, stop=session.stop)


def _peeled(session: Session, wanted: Mapping[str, str]) -> dict[str, str]:
    """Return refs as git packs them: a tag with what it leads to."""
    refs.write(session.staging, wanted)
    session.pack()
    found = refs.packed(session.staging) or {}
    if found.keys() != wanted.keys():
        raise GitError(Outcome.CORRUPT, "git could not pack all refs that the upstream lists")
    return found


def _known(listed: Listed, moved: Mapping[str, str], *, here: Mapping[str, str]) -> dict[str, str]:
    """Choose refs from which what is new most likely descends: those that moved or went, HEAD, and branches."""
    went = sorted(here.keys() - listed.refs.keys())
    branches = (name for name in here if name.startswith("refs/heads/"))
    likely = chain([listed.head or ""], moved, went, branches)
    chosen = dict.fromkeys(islice((name for name in likely if name in here), KNOWN))
    return {f"refs/known/{at}": here[name] for at, name in enumerate(chosen)}
