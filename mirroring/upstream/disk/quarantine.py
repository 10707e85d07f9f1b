"""Damaged objects of a mirror: set aside once a fresh clone has taken their place, for whoever wants to look."""

import shutil
from collections.abc import Collection
from pathlib import Path

FOLDER = "quarantine"


def object_files(objects: Path) -> set[Path]:
    """Return the packs and loose objects of a store, by their paths within it."""
    folders = [objects / "pack", *(folder for folder in objects.iterdir() if len(folder.name) == 2)]
    return {file.relative_to(objects) for folder in folders if folder.exists() for file in folder.iterdir()}


def set_aside(repository: Path, *, epoch: int, keep: Collection[Path]) -> None:
    """Move the objects that are not to be kept out of the store. Of several times only the last is kept."""
    objects, place = repository / "objects", repository / FOLDER
    shutil.rmtree(place, ignore_errors=True)
    for name in object_files(objects) - set(keep):
        target = place / str(epoch) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (objects / name).rename(target)
