"""Mirrors on the check line, as their first import would have left them but for the repository on disk: as rows only.

What an upstream listed is sealed by the product's own functions, so that a check finds an unchanged mirror
unchanged. The first import that follows makes the repository. The upstreams are at version 0, which can be listed but
not fetched; those that are to change during a run are pushed before, and so imported once.
"""

import math
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from bench.harness import fleet, forge
from bench.harness.measure import require
from bench.harness.upstreams import Served
from mirroring.stack.children import descendants

GROUP = "checked"
_SPREAD = (
    0.6180339887498949  # The golden section: every stretch of numbers is spread evenly over the interval.
)


def first_id() -> int:
    """Return the id of the mirror of upstream 0; the others follow without a gap."""
    from mirroring.models import Mirror

    return Mirror.objects.filter(group__name=GROUP).order_by("pk").values_list("pk", flat=True)[0]


def add_first(served: Served, *, refs: int, now: datetime, due: datetime) -> None:
    """Add the mirror of upstream 0, of which all others are copies: imported now, and due then."""
    from mirroring.models import Group, ImportState, Mirror
    from mirroring.rules.outcomes import Outcome
    from mirroring.rules.states import Status
    from mirroring.upstream.client.probe import Way

    [(number, url, digest)] = _sealed(served, range(1), refs=refs)
    mirror = Mirror.objects.create(
        group=Group.objects.create(name=GROUP),
        name=f"mirror-{number}",
        url=url,
        host_id=_hosts(served)[urlsplit(url).netloc],
    )
    before = ("last_update_at", "last_successful_update_at", "last_changed_at")
    ImportState.objects.create(
        mirror=mirror,
        host_id=mirror.host_id,
        status=Status.FINISHED,
        last_outcome=Outcome.CHANGED,
        listed_way=Way.V2_SHA1,
        upstream_digest=digest,
        check_due_at=due,
        next_execution_at=due,
        **dict.fromkeys(before, now),
    )


def add(served: Served, numbers: Iterable[int], *, refs: int, begin: datetime, interval: timedelta) -> None:
    """Add the mirrors of these upstreams; their checks are due evenly through the interval that begins."""
    from django.db import connection, transaction

    from mirroring.models import ImportState, Mirror

    hosts = _hosts(served)
    first = first_id()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMP TABLE wanted (n bigint, url text, host bigint, digest bytea, due timestamptz)"
        )
        with cursor.copy("COPY wanted FROM STDIN") as copying:
            for number, url, digest in _sealed(served, numbers, refs=refs):
                due = begin + interval * math.modf(number * _SPREAD)[0]
                copying.write_row((number, url, hosts[urlsplit(url).netloc], digest, due))
        named = {"id": f"{first} + n", "name": "'mirror-' || n", "storage_id": "gen_random_uuid()"}
        mirror = Mirror.objects.get(pk=first)
        fleet.copy(mirror, "wanted", {**named, "url": "wanted.url", "host_id": "wanted.host"})
        times = dict.fromkeys(("check_due_at", "next_execution_at"), "wanted.due")
        named = {"mirror_id": f"{first} + n", "host_id": "wanted.host", "upstream_digest": "wanted.digest"}
        fleet.copy(ImportState.objects.get(pk=first), "wanted", {**named, **times})
        cursor.execute("DROP TABLE wanted")
    fleet.move_sequences(mirror)
    fleet.tidy()


def _hosts(served: Served) -> dict[str, int]:
    from mirroring.catalog.adding import hosts_named

    return {
        name: host.pk for name, host in hosts_named({urlsplit(url).netloc for url in served.urls}).items()
    }


def _sealed(served: Served, numbers: Iterable[int], *, refs: int) -> Iterator[tuple[int, str, bytes]]:
    """Yield number, URL and the digest that is kept of what the upstream lists at its first version."""
    from mirroring.models.mirror import RefSelection, inputs, refspecs
    from mirroring.upstream.client import protocol
    from mirroring.upstream.client.probe import heard_of, sealed

    wanted = refspecs(RefSelection.DEFAULT, [])
    question = protocol.ls_refs(protocol.prefixes(tuple(wanted)), object_format=protocol.ObjectFormat.SHA1)
    for number in numbers:
        url = served.urls[number]
        heard = heard_of(question, forge.listed(number, 0, refs=refs))
        yield number, url, sealed(heard.digest, inputs=inputs(url, wanted, 1))


def rest(numbers: Iterable[int], *, begin: datetime, interval: timedelta) -> None:
    """Have mirrors that are there due evenly through the interval that begins."""
    from django.db import connection

    seconds = interval.total_seconds()
    place = f"mirror_id * {_SPREAD}::float8"
    due = f"%s::timestamptz + %s::float8 * interval '1 second' * ({place} - floor({place}))"
    first = first_id()
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE mirroring_importstate SET check_due_at = {due}, next_execution_at = {due}"
            " WHERE mirror_id = ANY (%s) AND check_due_at IS NOT NULL",
            [begin, seconds, begin, seconds, [first + number for number in numbers]],
        )


def unchecked(*, since: datetime) -> int:
    """Return how many mirrors have not been checked since, as the rows say."""
    from mirroring.models import ImportState

    return ImportState.objects.exclude(last_checked_at__gte=since).count()


def require_found(served: Served) -> None:
    """Raise Void unless just those mirrors were imported that the upstreams say have changed, as they are now."""
    from mirroring.models import ImportAttempt, Mirror

    first, newer = first_id(), served.says("newer")
    versions = {first + int(number): version for number, version in newer.items()}
    missed = [
        mirror.pk
        for mirror in Mirror.objects.filter(pk__in=versions)
        if _head(mirror.repository) != forge.head_of(mirror.pk - first, versions[mirror.pk]).decode()
    ]
    require(not missed, otherwise=f"{len(missed)} of {len(versions)} changes were missed")
    others = ImportAttempt.objects.exclude(mirror_id__in=versions).count()
    require(not others, otherwise=f"{others} mirrors were imported that had not changed")


def _head(repository: Path) -> str:
    """Return what the default branch points at, read by nobody's code but this."""
    packed = repository / "packed-refs"
    lines = packed.read_text().splitlines() if packed.exists() else []
    return next((line.split(" ")[0] for line in lines if line.endswith(" refs/heads/main")), "")


def database() -> list[int]:
    """Return the processes of the database server; its first one has the time of those that have ended."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = cursor.fetchone()[0]
    server = int(Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()[1])
    return [server, *descendants(server)]


def configure(interval: timedelta, *, capacity: int) -> None:
    """Switch checks on, each mirror due an interval after it was checked."""
    from mirroring.flags.changes import set_flag
    from mirroring.flags.registry import FlagName
    from mirroring.models import SchedulingSettings

    seconds = int(interval.total_seconds())
    SchedulingSettings(
        mirror_max_capacity=capacity,
        mirror_min_delay_seconds=seconds,
        mirror_max_delay_seconds=seconds,
        mirror_jitter_seconds=0,  # So that a row says when its check was done: an interval before the next.
        mirror_host_share_percent=100,
        mirror_host_adaptive=False,
    ).save()
    for name in FlagName:
        set_flag(name, on=True, by="bench", force=True)
