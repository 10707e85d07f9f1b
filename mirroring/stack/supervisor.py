"""Keep processes running: start them, start a dead one again, stop them all within a bound."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mirroring.stack import private_files
from mirroring.stack.children import children, descendants, dies_with_parent

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
STEADY_SECONDS = 60.0  # a process that ran this long did not fail because of how it starts
LOG_BYTES = 20 * 2**20
PR_SET_CHILD_SUBREAPER = 36


@dataclass
class Child:
    """One process that is to run, and how it fares."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    cwd: Path | None
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    again_at: float = 0.0
    told: int = 0


class Supervisor:
    """The parent of all processes. One thread uses it: the kernel ties children to the thread that made them."""

    def __init__(self, logs: Path, *, say: Callable[[str], None], verbose: bool, adopt: bool) -> None:
        """Write logs below `logs`. With `adopt`, every child of this process that is not ours is a stray to end."""
        self.logs = logs
        self.say = say
        self.verbose = verbose
        self.adopt = adopt
        self.children: list[Child] = []
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        if adopt:
            _receive_orphans()

    def start(
        self, name: str, command: Sequence[str], *, environment: Mapping[str, str], cwd: Path | None = None
    ) -> Child:
        """Start one more process and keep it running from now on."""
        log = self.logs / f"{name}.log"
        if log.exists() and log.stat().st_size > LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        child = Child(name, command, environment, cwd, log)
        child.told = log.stat().st_size if log.exists() else 0
        self.children.append(child)
        self._spawn(child)
        return child

    def pids(self) -> dict[str, int]:
        """Return the processes that run now, by name."""
        return {child.name: child.process.pid for child in self.children if _runs(child) and child.process}

    def tend(self) -> bool:
        """Start again what has ended and whose time has come; tell whether any process is a new one."""
        renewed = False
        for child in self.children:
            if self.verbose:
                self._repeat(child)
            if _runs(child):
                continue
            if child.process:
                self._note_end(child, child.process.returncode)
            elif time.monotonic() >= child.again_at:
                self._spawn(child)
                renewed = True
        return renewed

    def stop(self, *, grace: float, urgent: Callable[[], bool]) -> None:
        """End the processes, the first-started last of all; kill what is left after `grace` seconds or if urgent."""
        for group in (self.children[1:], self.children[:1]):
            running = [child.process for child in group if child.process and _runs(child)]
            deadline = time.monotonic() + grace
            for process in running:
                process.send_signal(signal.SIGTERM)
            while any(process.poll() is None for process in running):
                if time.monotonic() > deadline or urgent():
                    break
                time.sleep(0.05)
            for process in running:
                _kill(process)
        self._end_strays()

    def _spawn(self, child: Child) -> None:
        with private_files.append_bytes(child.log) as log:
            child.process = subprocess.Popen(
                [*dies_with_parent(), *child.command],
                env=dict(child.environment),
                cwd=child.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal reaches us alone: we stop the others in order
            )
        child.started = time.monotonic()

    def _note_end(self, child: Child, code: int) -> None:
        if time.monotonic() - child.started > STEADY_SECONDS:
            child.failures = 0
        delay = min(FIRST_DELAY_SECONDS * 2**child.failures, LONGEST_DELAY_SECONDS)
        child.failures += 1
        child.again_at, child.process = time.monotonic() + delay, None
        self.say(
            f"{child.name} ended ({_ending(code)}); it starts again in {delay:g} s. Its log: {child.log}"
        )
        self._end_strays()

    def _end_strays(self) -> None:
        """Kill what a dead child has left to us, with everything below it."""
        if not self.adopt:
            return
        ours = {child.process.pid for child in self.children if child.process}
        for stray in set(children(os.getpid())) - ours:
            for pid in [stray, *descendants(stray)]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(stray, 0)

    def _repeat(self, child: Child) -> None:
        with child.log.open("rb") as log:
            log.seek(child.told)
            lines, end, _ = log.read().rpartition(b"\n")
        child.told += len(lines) + len(end)
        for line in lines.decode(errors="replace").splitlines():
            self.say(f"{child.name:10} | {line}")


def _receive_orphans() -> None:
    """Have processes whose parent was killed (git below a worker) come to us, so that we can end them."""
    with suppress(OSError, AttributeError):  # other systems than Linux have no such thing
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _runs(child: Child) -> bool:
    return child.process is not None and child.process.poll() is None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and everything below it, other process groups included; return when it is gone."""
    if process.poll() is None:
        for pid in [process.pid, *descendants(process.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait()


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"
