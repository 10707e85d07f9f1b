"""The real processes of the product, as `manage.py up` starts them, on the servers of a lab."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench.harness.lab import Lab
from bench.harness.machine import ROOT
from bench.harness.measure import Void
from mirroring.stack.children import descendants, dies_with_parent
from mirroring.stack.processes import Layout, processes

WORKERS = tuple(process.name for process in processes(Layout()) if "worker" in process.arguments)
START_SECONDS = 120.0
STOP_SECONDS = 20.0

Words = Callable[[str, Sequence[str]], Sequence[str]]
"""Given a process's name and its words after `python`: the words to start it with instead."""


def as_it_is(name: str, words: Sequence[str]) -> Sequence[str]:
    """Start a process as the product does."""
    return words


@dataclass
class Stack:
    """Running workers and beat."""

    place: Lab
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def pids(self, *names: str) -> list[int]:
        """Return the ids of processes and of everything below them."""
        chosen = [self.processes[name].pid for name in names or self.processes]
        return [pid for root in chosen for pid in (root, *descendants(root))]

    def require_alive(self) -> None:
        """Raise Void if one of the processes has ended."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise Void(f"the process {name} ended: {self.log(name)[-500:]}")

    def tick(self) -> None:
        """Run the scheduler now: the first tick of beat comes a minute after its start."""
        from mirroring.tasks import update_all_mirrors

        update_all_mirrors.apply_async(queue="control")

    def log(self, name: str) -> str:
        """Return what a process has said."""
        return (self.place.folder / f"{name}.log").read_text(errors="replace")


@contextmanager
def running(
    place: Lab,
    *,
    slots: int,
    beat: bool = True,
    words: Words = as_it_is,
    environment: Mapping[str, str] | None = None,
    stop_seconds: float = STOP_SECONDS,
) -> Iterator[Stack]:
    """Start the workers and beat, wait until they have announced themselves, and stop them at the end.

    What has not ended after `stop_seconds` is killed.
    """
    stack = Stack(place)
    wanted = (*WORKERS, "beat") if beat else WORKERS
    try:
        for process in processes(Layout(import_slots=slots)):
            if process.name in wanted:
                chosen = words(process.name, process.arguments)
                stack.processes[process.name] = _spawn(place, process.name, chosen, environment or {})
        _await(stack)
        yield stack
    finally:
        _stop(stack, stop_seconds)


def _spawn(
    place: Lab, name: str, words: Sequence[str], environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    with (place.folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [*dies_with_parent(), sys.executable, *words],
            cwd=ROOT,
            env=place.environment(DRAIN_SECONDS="0", PGAPPNAME=name, **environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _await(stack: Stack) -> None:
    from mirroring.tracker.connection import connect

    here = socket.gethostname()
    wanted = {f"{here}:{process.pid}" for name, process in stack.processes.items() if name in WORKERS}
    wait_until(
        lambda: wanted <= {worker.name.partition("@")[2] for worker in connect().workers()},
        seconds=START_SECONDS,
        what="the workers have announced themselves",
        watch=stack,
    )


def _stop(stack: Stack, seconds: float) -> None:
    for process in stack.processes.values():
        process.terminate()
    deadline = time.monotonic() + seconds
    for process in stack.processes.values():
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(
    claim: Callable[[], bool], *, seconds: float, what: str, watch: Stack | None = None, every: float = 0.05
) -> None:
    """Wait until `claim` holds; raise Void if it does not in time."""
    deadline = time.monotonic() + seconds
    while not claim():
        if watch:
            watch.require_alive()
        if time.monotonic() > deadline:
            raise Void(f"not within {seconds:.0f} s: {what}")
        time.sleep(every)
