"""Rolling packs up: each import that brings objects leaves one more, and every reader looks through all of them.

Packs are kept while each is at least twice as large as all smaller ones together; the others become one. So an object
is copied again only after its pack has grown by half, and few packs are left. What a repository holds stays the same,
also what no ref leads to any more: it may be what the next fetch builds on.

The new pack is written in the staging folder of the import, and takes the place of the others under the rules for refs.
"""

import logging
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from django import db
from django.conf import settings

from mirroring.upstream.disk.repository import Repository
from mirroring.upstream.errors import GitError
from mirroring.upstream.git.bounds import MB, Bounds, Watch
from mirroring.upstream.git.environment import environment, within
from mirroring.upstream.git.process import StopHandle, run

EVERY = 50
"""Packs are rolled up as their number passes a multiple of this: what fails is tried again after as many more."""

MOST = 512 * MB
"""What is rolled up at once: no import shall pay for more, so the largest packs stay as they are."""

TIMEOUT = timedelta(minutes=2)
"""The import is told of as done only afterwards."""

_CONFIG = [("pack.deltaCacheSize", "64m")]
_PACK = {"pack", "idx"}
_SPECIAL = {"keep", "promisor", "mtimes"}
"""Beside a pack: it is to stay, belongs to a partial clone, or holds what is to expire."""

logger = logging.getLogger(__name__)


def roll_up(
    repository: Repository,
    epoch: int,
    *,
    brought: int,
    bounds: Bounds,
    left: timedelta,
    still_ours: Callable[[], bool],
    stop: StopHandle,
) -> None:
    """Make one pack of many small ones after an import that brought some, if it is time. No failure is raised."""
    folder = repository.objects / "pack"
    try:
        if not _is_due(folder, brought=brought):
            return
        packs = _packs(folder)
        if rolled := smallest(_sizes(folder, packs)):
            _write(repository, epoch, rolled, packs.keys() - rolled, bounds=bounds, left=left, stop=stop)
            repository.exchange_packs(epoch, rolled, still_ours=still_ours)
    except (GitError, OSError, db.Error) as error:
        # Readers see the new refs already.
        logger.warning(
            "packs were not rolled up", extra={"repository": repository.path.name, "error": str(error)}
        )


def _is_due(folder: Path, *, brought: int) -> bool:
    """Say whether these packs took their number past a multiple of the bound."""
    with os.scandir(folder) as found:
        names = [entry.name for entry in found]
    count = sum(name.endswith(".pack") for name in names)
    # A multi-pack index names its packs: whoever made one looks after the repository.
    return count // EVERY > (count - brought) // EVERY and "multi-pack-index" not in names


def _packs(folder: Path) -> dict[str, set[str]]:
    """Return the packs that git sees, each with the suffixes of its files."""
    found: dict[str, set[str]] = {}
    for file in folder.iterdir():
        stem, _, suffix = file.name.partition(".")
        found.setdefault(stem, set()).add(suffix)
    return {stem: suffixes for stem, suffixes in found.items() if suffixes >= _PACK}


def _sizes(folder: Path, packs: Mapping[str, set[str]]) -> dict[str, int]:
    """Return the sizes of those packs that may become part of another."""
    usual = (stem for stem, suffixes in packs.items() if suffixes.isdisjoint(_SPECIAL))
    return {stem: (folder / f"{stem}.pack").stat().st_size for stem in usual}


def smallest(sizes: Mapping[str, int]) -> set[str]:
    """Return the smallest packs, up to the last that is not twice as large as all smaller ones together.

    Of more than may be rolled up at once, some.
    """
    names = sorted(sizes, key=sizes.__getitem__)
    below, upto = 0, 0
    for at, name in enumerate(names, start=1):
        if below + sizes[name] > MOST:
            break
        if sizes[name] < 2 * below:
            upto = at
        below += sizes[name]
    return set(names[:upto])


def _write(
    repository: Repository,
    epoch: int,
    rolled: Collection[str],
    others: Collection[str],
    *,
    bounds: Bounds,
    left: timedelta,
    stop: StopHandle,
) -> None:
    """Write one pack of what these packs hold, and the others do not, into the staging repository."""
    objects = repository.staging(epoch) / "objects"
    lines = [*(f"{stem}.pack\n" for stem in rolled), *(f"^{stem}.pack\n" for stem in others)]
    # Old and new are here for a moment: the limit of the repository would keep it from becoming smaller.
    watch = Watch(objects, bounds=replace(bounds, repository_mb=0), held=0)
    options = ["--quiet", "--stdin-packs", "--non-empty", "--delta-base-offset"]
    run(
        [settings.GIT, within(repository.path), "pack-objects", *options, objects / "pack" / "pack"],
        environment=environment(_CONFIG, GIT_OBJECT_DIRECTORY=str(objects)),
        timeout=min(left, TIMEOUT),
        stop=stop,
        limits=watch.limits,
        watch=watch,
        given="".join(lines).encode(),
    )
