"""Adopting repositories that exist: each becomes a mirror that fetches only what it lacks."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.db import transaction

from mirroring.catalog.adding import create, refuse_taken
from mirroring.catalog.errors import AlreadyMirrored, CatalogError
from mirroring.catalog.lists import Adoption
from mirroring.catalog.wanted import Wanted
from mirroring.models import Mirror
from mirroring.upstream.disk import adoption, folders, original
from mirroring.upstream.git.process import StopHandle

logger = logging.getLogger(__name__)


class NotAdoptable(CatalogError):
    """The repository cannot be taken over; it is as it was."""


@dataclass(frozen=True)
class Adopted:
    """A repository that was taken over, as a mirror."""

    mirror: Mirror
    refs: int
    refs_left_out: int


@dataclass(frozen=True)
class Adopting:
    """What became of one line of a list: it was adopted, is mirrored already, or was refused."""

    line: int
    path: str
    adopted: Adopted | None = None
    skipped: bool = False
    refusal: str = ""


def adopt(source: Path, wanted: Wanted, *, due: datetime, wake: Callable[[], None]) -> Adopted:
    """Make a bare repository a mirror, imported first at `due`. Raise NameTaken or NotAdoptable.

    The original is only read. Killed at any instant, this leaves either the mirror with its repository or neither.
    """
    refuse_taken(wanted)
    refspecs = Mirror(ref_selection=wanted.refs.selection, ref_patterns=list(wanted.refs.patterns)).refspecs
    try:
        with adoption.taken(source, refspecs=refspecs, stop=StopHandle()) as taken:
            mirror = _land(taken.repository.path, wanted, due=due, wake=wake)
    except original.NotAdoptable as error:
        raise NotAdoptable(str(error)) from None
    logger.info("repository adopted", extra={"mirror": mirror.pk, "path": wanted.path, "refs": taken.refs})
    return Adopted(mirror=mirror, refs=taken.refs, refs_left_out=taken.refs_left_out)


def _land(draft: Path, wanted: Wanted, *, due: datetime, wake: Callable[[], None]) -> Mirror:
    """Write the rows and rename the draft to its place before they are seen: an import begins with what it holds."""
    landed: Path | None = None
    try:
        with transaction.atomic():
            refuse_taken(wanted)
            [mirror] = create([wanted], due=due)
            mirror.repository.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.rename(mirror.repository)
            landed = mirror.repository
            transaction.on_commit(wake)
    except BaseException:
        if landed:
            folders.remove(landed)
        raise
    return mirror


def adopt_all(
    adoptions: Sequence[Adoption], *, now: datetime, over: timedelta, wake: Callable[[], None]
) -> Iterator[Adopting]:
    """Adopt the lines of a list one by one, their first imports spread evenly over a time from now on.

    What is mirrored already is skipped, so that a list can be run again after a stop or a refusal.
    """
    for number, each in enumerate(adoptions):
        line, path = each.line, each.wanted.path
        try:
            adopted = adopt(each.source, each.wanted, due=now + over * number / len(adoptions), wake=wake)
        except AlreadyMirrored:
            yield Adopting(line, path, skipped=True)
        except CatalogError as error:
            yield Adopting(line, path, refusal=str(error))
        else:
            yield Adopting(line, path, adopted=adopted)
