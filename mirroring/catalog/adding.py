"""Adding mirrors: one, or thousands in a few statements."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from django.db import IntegrityError, transaction

from mirroring.catalog.errors import AlreadyMirrored, BadList, NameTaken, Problem
from mirroring.catalog.wanted import Wanted
from mirroring.models import Group, Host, ImportState, Mirror
from mirroring.rules.cadence import FIRST_HEAD_START

logger = logging.getLogger(__name__)

NAMES_PER_STATEMENT = 500  # Far below the number of parameters that SQLite takes.

T = TypeVar("T")


@dataclass(frozen=True)
class Skipped:
    """A line of a list that adds nothing, and why."""

    line: int
    path: str
    reason: str


@dataclass(frozen=True)
class Added:
    """What a list came to: every line of it is in one of the two."""

    mirrors: list[Mirror]
    skipped: list[Skipped]


@dataclass
class _Sorting:
    """The lines of a list, sorted into those to add, to skip and to complain about."""

    fresh: dict[str, tuple[int, Wanted]] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def add(wanted: Wanted, *, now: datetime, wake: Callable[[], None]) -> Mirror:
    """Add one mirror, due at once, and wake the scheduler after the commit. Raise NameTaken."""
    with transaction.atomic():
        refuse_taken(wanted)
        [mirror] = create([wanted], due=now, head_start=FIRST_HEAD_START)
        transaction.on_commit(wake)
    logger.info("mirror added", extra={"mirror": mirror.pk, "path": wanted.path})
    return mirror


def refuse_taken(wanted: Wanted) -> None:
    """Raise AlreadyMirrored or NameTaken if a kept mirror has the path."""
    url = _urls_of([wanted]).get(wanted.path)
    if url == wanted.upstream.url:
        raise AlreadyMirrored(f"{wanted.path} already mirrors {url}: ask it to be updated instead")
    if url is not None:
        raise NameTaken(f"{wanted.path} is taken, it mirrors {url}: choose another name or group")


def add_all(wanted: Iterable[tuple[int, Wanted]], *, now: datetime, wake: Callable[[], None]) -> Added:
    """Add the lines of a list, all due at once; what is mirrored already is skipped. Raise BadList, or add them all."""
    numbered = list(wanted)
    with transaction.atomic():
        sorting = _sort(numbered)
        if sorting.problems:
            raise BadList(sorting.problems)
        fresh = [each for _, each in sorting.fresh.values()]
        mirrors = create(fresh, due=now, head_start=FIRST_HEAD_START)
        if mirrors:
            transaction.on_commit(wake)
    logger.info("list of mirrors added", extra={"added": len(mirrors), "skipped": len(sorting.skipped)})
    return Added(mirrors=mirrors, skipped=sorting.skipped)


def check_free(wanted: Iterable[tuple[int, Wanted]]) -> None:
    """Raise BadList if lines of a list want a name that is taken. Nothing is added."""
    if problems := _sort(list(wanted)).problems:
        raise BadList(problems)


def _sort(numbered: Sequence[tuple[int, Wanted]]) -> _Sorting:
    known = _urls_of([wanted for _, wanted in numbered])
    sorting = _Sorting()
    for line, wanted in numbered:
        path, url = wanted.path, wanted.upstream.url
        first, earlier = sorting.fresh.get(path, (0, None))
        if known.get(path) == url:
            sorting.skipped.append(Skipped(line, path, "already mirrored"))
        elif path in known:
            sorting.problems.append(
                Problem(line, f"{path} is taken, it mirrors {known[path]}: give another name")
            )
        elif earlier is None:
            sorting.fresh[path] = (line, wanted)
        elif earlier == wanted:
            sorting.skipped.append(Skipped(line, path, f"the same as line {first}"))
        else:
            sorting.problems.append(
                Problem(line, f"{path} is already line {first}: give one of the two another name")
            )
    return sorting


def _urls_of(wanted: Sequence[Wanted]) -> dict[str, str]:
    """Return what kept mirrors with any of these paths mirror, by path."""
    names: dict[str, list[str]] = {}
    for each in wanted:
        names.setdefault(each.group, []).append(each.name)
    found: dict[str, str] = {}
    for group, of_group in names.items():
        for chunk in _chunks(of_group):
            rows = Mirror.objects.filter(group__name=group, name__in=chunk, deleted_at=None)
            found |= {f"{group}/{name}": url for name, url in rows.values_list("name", "url")}
    return found


def create(wanted: Sequence[Wanted], *, due: datetime, head_start: timedelta = timedelta(0)) -> list[Mirror]:
    """Write the rows of new mirrors, which stand in their lines as if due so much earlier. Raise NameTaken."""
    groups = groups_named({each.group for each in wanted})
    hosts = hosts_named({each.upstream.host for each in wanted})
    mirrors = [
        Mirror(
            group=groups[each.group],
            name=each.name,
            url=each.upstream.url,
            host=hosts[each.upstream.host],
            ref_selection=each.refs.selection,
            ref_patterns=list(each.refs.patterns),
            credential=each.credential,
            on_divergence=each.on_divergence,
        )
        for each in wanted
    ]
    try:
        with transaction.atomic():
            Mirror.objects.bulk_create(mirrors, batch_size=NAMES_PER_STATEMENT)
    except IntegrityError:
        raise NameTaken("Somebody else added one of these names at the same moment: run it again") from None
    # Due from the row's first moment: a mirror without a state, or with one that is not due, would never run.
    states = [
        ImportState(mirror=mirror, host=mirror.host, next_execution_at=due, import_due_at=due - head_start)
        for mirror in mirrors
    ]
    ImportState.objects.bulk_create(states, batch_size=NAMES_PER_STATEMENT)
    return mirrors


def groups_named(names: Iterable[str]) -> dict[str, Group]:
    """Return the groups of these names, made where they are missing."""
    found: dict[str, Group] = {}
    for chunk in _chunks(sorted(names)):
        Group.objects.bulk_create([Group(name=name) for name in chunk], ignore_conflicts=True)
        found |= {group.name: group for group in Group.objects.filter(name__in=chunk)}
    return found


def hosts_named(names: Iterable[str]) -> dict[str, Host]:
    """Return the hosts of these names, made where they are missing."""
    found: dict[str, Host] = {}
    for chunk in _chunks(sorted(names)):
        Host.objects.bulk_create([Host(name=name) for name in chunk], ignore_conflicts=True)
        found |= {host.name: host for host in Host.objects.filter(name__in=chunk)}
    return found


def _chunks(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    return (rows[at : at + NAMES_PER_STATEMENT] for at in range(0, len(rows), NAMES_PER_STATEMENT))
