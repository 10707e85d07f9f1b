"""The processes of the stack and their commands; docker/compose.yml runs the same ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mirroring.stack.ports import LOOPBACK

CELERY = ("-m", "celery", "-A", "config")
ALONE = ("--without-gossip", "--without-mingle")  # workers need not know each other; the rows decide
CONTROL_THREADS = 2
SCHEDULING_THREADS = 2
CHECKS_THREADS = 1  # one run at a time, with an event loop of its own beside it


@dataclass(frozen=True)
class Process:
    """One process: the words after `python`, and what it needs beside the common environment."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Layout:
    """What differs between two stacks."""

    web_host: str = LOOPBACK
    web_port: int = 8000
    flower_host: str = LOOPBACK
    flower_port: int = 5555
    import_slots: int = 8


def processes(layout: Layout) -> list[Process]:
    """Return the processes in the order in which they are started."""
    return [
        Process("web", _web(layout)),
        Process("control", _worker("control", threads=CONTROL_THREADS)),
        Process("scheduling", _worker("scheduling", threads=SCHEDULING_THREADS)),
        Process("checks", _worker("checks", threads=CHECKS_THREADS)),
        Process("imports", _worker("imports", threads=layout.import_slots)),
        Process("beat", (*CELERY, "beat")),
        Process("flower", _flower(layout)),
    ]


def _web(layout: Layout) -> tuple[str, ...]:
    host = f"[{layout.web_host}]" if ":" in layout.web_host else layout.web_host
    options = ("--worker-class", "gthread", "--workers", "1", "--threads", "16", "--no-control-socket")
    return ("-m", "gunicorn", "config.wsgi:application", "--bind", f"{host}:{layout.web_port}", *options)


def _worker(queue: str, *, threads: int) -> tuple[str, ...]:
    options = ("--pool", "threads", "--concurrency", str(threads), *ALONE)
    return (*CELERY, "worker", "--queues", queue, "--hostname", f"{queue}@%h", *options)


def _flower(layout: Layout) -> tuple[str, ...]:
    # The password comes from the environment (FLOWER_BASIC_AUTH), where no list of processes shows it.
    options = ("--max-tasks=5000", "--persistent=False")
    return (*CELERY, "flower", f"--address={layout.flower_host}", f"--port={layout.flower_port}", *options)
