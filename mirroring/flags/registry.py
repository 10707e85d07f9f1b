"""The flags that exist: an enum for the code, a YAML definition for people; neither without the other."""

from collections.abc import Iterable
from enum import StrEnum
from functools import cache
from pathlib import Path

from django.conf import settings

from mirroring.flags.definition import ActorKind, Definition, Effect, FlagType, Owner, Requirement
from mirroring.flags.definition_file import BadDefinition, read

__all__ = [
    "BadDefinition",
    "Definition",
    "Effect",
    "FlagName",
    "Owner",
    "Requirement",
    "UnknownFlag",
    "definition",
    "definitions",
    "named",
]

DEFINITIONS = Path(__file__).parent / "definitions"


class FlagName(StrEnum):
    """Every flag that this code asks for, in the order of rollout."""

    PROJECT_IMPORT_SCHEDULE_WORKER_JOB_TRACKER = "project_import_schedule_worker_job_tracker"
    UPDATE_ALL_MIRRORS_JOB_TRACKER = "update_all_mirrors_job_tracker"
    CHECK_BEFORE_IMPORT = "check_before_import"


class UnknownFlag(ValueError):
    """No flag of that name is defined."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no flag named {name!r}. Defined flags: {', '.join(_all())}")


def named(name: str) -> str:
    """Return the name if a flag is defined under it, or raise UnknownFlag."""
    return definition(name).name


def definition(name: str) -> Definition:
    """Return the definition of a flag, or raise UnknownFlag."""
    try:
        return _all()[name]
    except KeyError:
        raise UnknownFlag(name) from None


def is_defined(name: str) -> bool:
    """Say whether a flag of that name is defined."""
    return name in _all()


def departed(name: str) -> Definition:
    """Return what stands in for the definition of a flag that was cleaned up, so that its row can be forgotten."""
    return Definition(
        name=name,
        description="",
        type=FlagType.OPS,
        owner=Owner(team="", contact="", channel=""),
        introduced_by="",
        milestone="",
        rollout_issue="",
        default=False,
        actor=ActorKind.NONE,
        requires=None,
        effects=(),
        cleanup_hook=None,
        intended_end="",
    )


def definitions() -> list[Definition]:
    """Return all definitions, in the order in which the flags are to be rolled out."""
    return list(_all().values())


def _all() -> dict[str, Definition]:
    return _read((DEFINITIONS, *map(Path, settings.EXTRA_FLAG_DEFINITIONS)))


@cache
def _read(folders: tuple[Path, ...]) -> dict[str, Definition]:
    """Read all folders; the flags of the code first, what an extension or a test adds after them."""
    found = {made.name: made for made in _each(folders)}
    for made in found.values():
        if made.requires and made.requires.flag not in found:
            raise BadDefinition(f"{made.name} requires {made.requires.flag!r}, which is not defined")
    order = [name for name in FlagName if name in found]
    return {str(name): found[name] for name in (*order, *sorted(found.keys() - set(order)))}


def _each(folders: Iterable[Path]) -> Iterable[Definition]:
    seen: dict[str, Path] = {}
    for path in (path for folder in folders for path in sorted(folder.glob("*.yml"))):
        if path.stem in seen:
            raise BadDefinition(f"{path}: the flag is defined already in {seen[path.stem]}")
        seen[path.stem] = path
        yield read(path)
