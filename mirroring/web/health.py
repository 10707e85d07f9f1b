"""For those who watch the service: does it answer, is it ready, which revision is it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache

from mirroring import revision
from mirroring.catalog.credential_facts import count_credentials
from mirroring.models import SchedulingSettings
from mirroring.rules.words import counted
from mirroring.tracker.connection import connect, present
from mirroring.tracker.job_tracker import TrackerDown
from mirroring.web.refusal import plain_text

QUEUES = ("control", "scheduling", "imports")


@dataclass(frozen=True)
class Part:
    """Whether one part is ready, in words that hold no secret: this page asks for no password."""

    ready: bool
    detail: str


def livez(request: HttpRequest) -> HttpResponse:
    """Say that this process answers. It asks nothing of any other: a restart would not mend those."""
    return plain_text("ok")


@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """Say of each part whether it is ready; 503 if one is not."""
    parts = {name: check() for name, check in CHECKS.items()}
    missing = [name for name, part in parts.items() if not part.ready]
    body = {
        "ready": not missing,
        "not_ready": missing,
        "parts": {name: vars(part) for name, part in parts.items()},
    }
    return JsonResponse(body, status=503 if missing else 200)


@never_cache
def version(request: HttpRequest) -> HttpResponse:
    """Say what runs here."""
    return JsonResponse({"revision": revision.current(), **revision.versions()})


def _database() -> Part:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return Part(ready=False, detail="does not answer: see the log of the web process")
    return Part(ready=True, detail="answers")


def _migrations() -> Part:
    try:
        missing = _on_disk() - MigrationRecorder(connection).applied_migrations().keys()
    except DatabaseError:
        return Part(ready=False, detail="not known while the database does not answer")
    if missing:
        return Part(ready=False, detail=f"{len(missing)} not applied: run `manage.py migrate`")
    return Part(ready=True, detail="all applied")


@cache
def _on_disk() -> frozenset[tuple[str, str]]:
    """Return the migrations of the code that this process runs: they do not change while it does."""
    loader = MigrationLoader(None)
    return frozenset(loader.graph.nodes) if loader.graph else frozenset()


def _redis() -> Part:
    try:
        connect().now()
    except TrackerDown:
        return Part(ready=False, detail="does not answer: nothing is admitted until it does")
    return Part(ready=True, detail="answers")


def _workers() -> Part:
    try:
        workers = connect().workers()
    except TrackerDown:
        return Part(ready=False, detail="not known while Redis does not answer")
    served = {queue for worker in workers for queue in worker.name.partition("@")[0].split("+")}
    if unserved := [queue for queue in QUEUES if queue not in served]:
        return Part(ready=False, detail=f"no live worker reads the queue {', '.join(unserved)}: start one")
    slots = sum(worker.slots for worker in workers)
    if not slots:
        return Part(ready=False, detail="the imports workers are shutting down")
    return Part(ready=True, detail=f"all queues are read; {counted(slots, 'import slot')}")


def _beat() -> Part:
    try:
        alive = any(worker.name.startswith("beat@") for worker in connect().workers())
    except TrackerDown:
        return Part(ready=False, detail="not known while Redis does not answer")
    return Part(
        ready=alive, detail="beats" if alive else "no live beat has announced itself: start `celery beat`"
    )


def _credentials() -> Part:
    """Not ready where secrets cannot be opened; one that ends soon is said, and is no reason to send nobody here."""
    try:
        counted = count_credentials(now=present(), configured=SchedulingSettings.current())
    except DatabaseError:
        return Part(ready=False, detail="not known while the database does not answer")
    if counted.unopened:
        detail = f"{counted.unopened} cannot be opened by any key: restore the keys (docs/credentials.md)"
        return Part(ready=False, detail=detail)
    ends = {"past": counted.expiries["past"], "soon": counted.expiries["soon"]}
    if any(ends.values()) or counted.refused:
        detail = f"{ends['past']} ended, {ends['soon']} end soon, {counted.refused} refused: see the admin"
        return Part(ready=True, detail=detail)
    return Part(ready=True, detail="all in order")


CHECKS: Mapping[str, Callable[[], Part]] = {
    "database": _database,
    "migrations": _migrations,
    "redis": _redis,
    "workers": _workers,
    "beat": _beat,
    "credentials": _credentials,
}
