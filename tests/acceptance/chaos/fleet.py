"""The product's processes, one by one, and a supervisor that starts a dead one again after a short while."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.acceptance.chaos.plan import Plan
from tests.acceptance.chaos.spawning import spawn, tied
from tests.acceptance.journal import Journal
from tests.acceptance.plan import Failed
from tests.acceptance.processes import ROOT

ALONE = ("--without-gossip", "--without-mingle")


@dataclass
class Role:
    """One process that is to run all the time: what it is, and which process plays it now."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None
    due: float = 0.0
    held: bool = False

    @property
    def pid(self) -> int:
        """Return the process id, 0 if it does not run."""
        return self.process.pid if self.process and self.process.poll() is None else 0


def roles(slots: int, *, checks: bool = False) -> list[Role]:
    """Return what a stack consists of, with a second worker for imports; one for checks only if there are some."""
    workers = [("control", "control", 2), ("scheduling", "scheduling", 2)]
    workers += [("checks", "checks", 1)] if checks else []
    workers += [("imports-1", "imports", slots), ("imports-2", "imports", slots)]
    return [
        *(Role(name, _worker(name, queue, threads)) for name, queue, threads in workers),
        Role("beat", _beat()),
    ]


def _worker(name: str, queue: str, threads: int) -> list[str]:
    options = [
        "--queues",
        queue,
        "--hostname",
        f"{name}@%h",
        "--pool",
        "threads",
        "--concurrency",
        str(threads),
    ]
    return [sys.executable, "-m", "celery", "-A", "config", "worker", *options, *ALONE]


def _beat() -> list[str]:
    return [sys.executable, "-m", "celery", "-A", "config", "beat"]


class Fleet:
    """All processes of the product. One thread starts them all, for they end with the thread that started them."""

    def __init__(self, folder: Path, journal: Journal, plan: Plan, *, environment: dict[str, str]) -> None:
        self.folder = folder
        self.journal = journal
        self.environment = environment
        self.roles = {role.name: role for role in roles(plan.slots, checks=plan.checks)}
        self.every_pid: set[int] = set()
        self._rng = Random(f"{plan.seed}/fleet")
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._supervise, daemon=True)
        (folder / "logs").mkdir()

    def start(self) -> None:
        """Start everything."""
        self._thread.start()

    def stop(self) -> None:
        """Kill everything that still runs, and end the supervisor."""
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join(20)

    def signal(self, name: str, number: int) -> int:
        """Send a signal to the process of a role and return its id, 0 if there is none."""
        if pid := self.roles[name].pid:
            os.kill(pid, number)
        return pid

    def hold(self, name: str, *, held: bool) -> None:
        """Let a dead process of a role stay dead, or no longer."""
        self.roles[name].held = held

    def restart(
        self, name: str, *, environment: dict[str, str] | None = None, words: list[str] | None = None
    ) -> int:
        """End the process of a role in good order and start it anew, with something added to it."""
        role = self.roles[name]
        role.held = True
        if pid := self.signal(name, signal.SIGTERM):
            self.journal.note("terminated", role=name, pid=pid)
            self._wait_for_end(role)
        role.environment, before = environment or {}, role.command
        role.command = [*(words or []), *before]
        role.held, role.due = False, 0.0
        deadline = time.monotonic() + 20
        while not role.pid and time.monotonic() < deadline:
            time.sleep(0.05)
        role.command = before
        return role.pid

    def alongside(self, name: str, command: list[str]) -> None:
        """Start one process more, until `end_alongside`."""
        self.roles[name] = Role(name, command)

    def end_alongside(self, name: str) -> None:
        """End a process that was started alongside."""
        self.roles[name].held = True
        self.signal(name, signal.SIGTERM)
        self._wait_for_end(self.roles[name])

    def kill_all(self) -> None:
        """Kill every process of the product at once, and start none again."""
        for role in self.roles.values():
            role.held = True
        for name in self.roles:
            self.signal(name, signal.SIGKILL)

    def _wait_for_end(self, role: Role) -> None:
        deadline = time.monotonic() + 20
        while role.pid and time.monotonic() < deadline:
            time.sleep(0.05)
        if role.pid:
            os.kill(role.pid, signal.SIGKILL)

    def manage(self, *words: str, timeout: float = 120) -> str:
        """Run one management command and return what it prints."""
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode:
            raise Failed(
                f"`manage.py {' '.join(words)}` ended with {done.returncode}: {done.stderr.strip()[-300:]}"
            )
        return done.stdout

    def _supervise(self) -> None:
        while not self._ending.wait(0.05):
            for role in list(self.roles.values()):
                self._look_after(role)
        for role in list(self.roles.values()):
            if role.pid and role.process:
                os.kill(role.pid, signal.SIGCONT)
                role.process.kill()
                role.process.wait()

    def _look_after(self, role: Role) -> None:
        if role.process and (status := role.process.poll()) is not None:
            self.journal.note("died", role=role.name, pid=role.process.pid, status=status)
            role.process = None
            role.due = time.monotonic() + self._rng.uniform(0.2, 1.2)
        if role.process is None and not role.held and time.monotonic() >= role.due:
            self._spawn(role)

    def _spawn(self, role: Role) -> None:
        with (self.folder / f"logs/{role.name}.log").open("ab") as log:
            role.process = spawn(
                tied(*role.command),
                cwd=ROOT,
                env=self.environment | role.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.every_pid.add(role.process.pid)
        self.journal.note("spawned", role=role.name, pid=role.process.pid)
