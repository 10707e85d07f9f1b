"""The real processes of the product, started as `manage.py up` starts them: one Celery worker a queue, and beat."""

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.making import wait_until

ROOT = Path(__file__).resolve().parents[2]
CONCURRENCY = {"control": 2, "scheduling": 2, "checks": 1, "imports": 8}
STARTING_SECONDS = 90.0


@dataclass
class Stack:
    """The processes of one test."""

    folder: Path
    environment: Callable[..., dict[str, str]]
    workers: Callable[[], list]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    counted: int = 0

    def start(self, *names: str, slots: int = 8, **environment: str) -> None:
        """Start workers by the queue that they read, and beat; return when all have announced themselves."""
        for name in names:
            self.processes[name] = self._spawn(name, slots=slots, **environment)
        started = {f"@{socket.gethostname()}:{self.processes[name].pid}" for name in names}

        def ready() -> bool:
            self._complain()
            seen = {"@" + worker.name.partition("@")[2] for worker in self.workers()}
            return started <= seen

        wait_until(ready, seconds=STARTING_SECONDS, what=f"{names} have announced themselves")

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal one process; SIGKILL is waited for."""
        process = self.processes[name]
        process.send_signal(number)
        if number == signal.SIGKILL:
            process.wait()
            del self.processes[name]

    def log(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _complain(self) -> None:
        for name, process in self.processes.items():
            assert process.poll() is None, f"{name} ended: {self.log()[-3000:]}"

    def _spawn(self, name: str, *, slots: int, **environment: str) -> subprocess.Popen[bytes]:
        concurrency = slots if name == "imports" else CONCURRENCY.get(name, 1)
        command = ["worker", "--queues", name, "--hostname", f"{name}@%h", "--pool", "threads"]
        command += [
            "--concurrency",
            str(concurrency),
            "--without-gossip",
            "--without-mingle",
            "--loglevel",
            "INFO",
        ]
        if name == "beat":
            command = ["beat", "--schedule", str(self.folder / "beat-schedule"), "--pidfile", ""]
        self.counted += 1
        with (self.folder / f"{self.counted}-{name}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "config", *command],
                cwd=ROOT,
                env=self.environment(**environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


@pytest.fixture
def stack(transactional_db, child_environment, repositories_folder: Path, tmp_path: Path) -> Iterator[Stack]:
    """Start processes of the product with `stack.start("control", "scheduling", "imports", "beat")`."""
    from mirroring.tracker.connection import connect

    def environment(**changes: str) -> dict[str, str]:
        return child_environment(MIRRORING_REPOSITORIES=str(repositories_folder), **changes)

    folder = tmp_path / "processes"
    folder.mkdir()
    running = Stack(folder=folder, environment=environment, workers=lambda: connect().workers())
    yield running
    running.stop()
