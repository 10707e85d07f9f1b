"""Memory of all worker processes with imports in flight: threads, as the product runs, against prefork."""

from collections.abc import Iterator, Sequence

from bench.harness import memory, upstreams
from bench.harness.command import main
from bench.harness.lab import Lab, lab
from bench.harness.memory import Memory
from bench.harness.row import Row, Target
from bench.harness.scale import Scale
from bench.harness.stack import STOP_SECONDS, WORKERS, Stack, as_it_is, running, wait_until
from mirroring.stack.children import command_line

HANGING_SECONDS = 600.0
LEASE_SECONDS = 3600  # Nobody renews for a forked child: its slot must last as long as the measurement.
WHY = {
    "shared out": "pages that children share with their parent are counted once, which is kind to prefork",
    "resident": "what a process list shows: each process's pages, shared or not",
}


def rows(scale: Scale) -> Iterator[Row]:
    """Yield the rows: by pages shared out, and by resident pages."""
    imports = scale.pick(smoke=3, quick=50, full=50)
    with (
        lab("sqlite") as place,
        upstreams.slow(place.folder, mirrors=imports, seconds=HANGING_SECONDS, seed=scale.seed) as urls,
    ):
        _prepare(urls, imports)
        ours = _measure(place, imports, prefork=False)
        _back_to_rest(place)
        theirs = _measure(place, imports, prefork=True)
    for kind, mine, other, counts in (
        ("shared out", ours.shared_out, theirs.shared_out, True),
        ("resident", ours.resident, theirs.resident, False),
    ):
        yield Row(
            row="footprint",
            what=f"memory of all workers, {imports} imports in flight ({kind})",
            peer_name=f"Celery prefork, {imports} children",
            unit="MB",
            ours=mine,
            peer=other,
            target=4 if counts else 0,
            kind=Target.AT_LEAST if counts else Target.STATED,
            size=imports,
            why=WHY[kind],
        )


def _prepare(urls: list[str], imports: int) -> None:
    from mirroring.models import SchedulingSettings

    one_host = {"mirror_host_share_percent": 100, "mirror_host_adaptive": False}
    SchedulingSettings(mirror_max_capacity=imports, lease_seconds=LEASE_SECONDS, **one_host).save()
    upstreams.add(urls)


def _measure(place: Lab, imports: int, *, prefork: bool) -> Memory:
    from mirroring.models import ImportState

    # Forked children would wait for imports that hang.
    words, patience = (_prefork, 2.0) if prefork else (as_it_is, STOP_SECONDS)
    with running(place, slots=imports, words=words, stop_seconds=patience) as stack:
        stack.tick()
        wait_until(
            lambda: ImportState.objects.filter(status="started").count() == imports,
            seconds=120,
            what=f"{imports} imports are in flight",
            watch=stack,
        )
        return memory.of(_workers(stack))


def _workers(stack: Stack) -> list[int]:
    """Return our processes: git and the leash are the same for both, and are left out."""
    return [pid for pid in stack.pids(*WORKERS) if " celery " in command_line(pid)]


def _prefork(name: str, words: Sequence[str]) -> Sequence[str]:
    if name != "imports":
        return words
    return ["prefork" if word == "threads" else word for word in words]


def _back_to_rest(place: Lab) -> None:
    """Put everything back to before the first worker."""
    from django.db.models import F

    from mirroring.models import ImportState

    place.redis.flushall()
    ImportState.objects.update(
        status="none", import_due_at=F("next_execution_at"), claimed_at=None, claim_expires_at=None
    )


if __name__ == "__main__":
    main("footprint", rows)
