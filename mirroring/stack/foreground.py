"""Run the whole stack in the foreground, from the first process to the last."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from mirroring.stack import readiness, valkey
from mirroring.stack.errors import StackError
from mirroring.stack.ports import require_free
from mirroring.stack.processes import Layout, processes
from mirroring.stack.state_folder import StateFolder
from mirroring.stack.supervisor import Supervisor

START_SECONDS = 90.0
NEWS_SECONDS = 15.0
STOP_SECONDS = 10.0  # an import that takes longer is cut off; its mirror is due again after the next start
PAUSE_SECONDS = 0.2
TRIES_AT_START = 3
STACK_USER = "admin"


@dataclass(frozen=True)
class Plan:
    """What to run and where. `shared`: variables that commands in other terminals are to find, too."""

    root: Path
    layout: Layout
    public_url: str
    flower_url: str
    redis_url: str = field(default="", repr=False)
    flower_password: str = field(default="", repr=False)
    shared: Mapping[str, str] = field(default_factory=dict)
    verbose: bool = False
    say: Callable[[str], None] = print


@dataclass
class Stop:
    """How often we were asked to stop: once is a request, twice is an order."""

    asked: int = 0

    def __call__(self, *_: object) -> None:
        """Count one more request; this is the handler of the signals."""
        self.asked += 1

    def urgent(self) -> bool:
        """Tell whether the patience is at its end."""
        return self.asked > 1


def run(
    plan: Plan,
    folder: StateFolder,
    *,
    prepare: Callable[[], None],
    greet: Callable[[], None],
    mirrors: str = "",
) -> None:
    """Run everything until a signal ends it. `prepare` makes the database ready, `greet` says where things are."""
    require_free(plan.layout.web_port, host=plan.layout.web_host, variable="WEB_PORT")
    require_free(plan.layout.flower_port, host=plan.layout.flower_host, variable="FLOWER_PORT")
    plan.say(f"Starting the stack on {folder.path} ...")
    supervisor = Supervisor(folder.path / "logs", say=plan.say, verbose=plan.verbose, adopt=True)
    with _signals() as stop:
        try:
            environment = _environment(plan, folder, redis_url=plan.redis_url or _redis(supervisor, folder))
            prepare()
            _start_all(plan, folder, supervisor, environment)
            _await_ready(plan, supervisor, stop)
            if not stop.asked:
                _publish(plan, folder, supervisor, environment["REDIS_URL"])
                _import(mirrors, plan, environment)
                greet()
            while not stop.asked:
                _tend(plan, folder, supervisor, environment["REDIS_URL"])
        finally:
            plan.say("Stopping ... (Ctrl-C once more: at once)")
            folder.remove_card()
            supervisor.stop(grace=STOP_SECONDS, urgent=stop.urgent)
            plan.say("Stopped.")


@contextmanager
def _signals() -> Iterator[Stop]:
    stop = Stop()
    before = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # nohup stays in force; a shell that starts us with & has SIGINT ignored, which nobody asked for.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, stop)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _redis(supervisor: Supervisor, folder: StateFolder) -> str:
    launch = valkey.prepare(folder.path / "redis")
    child = supervisor.start("valkey", launch.argv, environment=os.environ)
    folder.note_children(supervisor.pids())
    deadline = time.monotonic() + valkey.START_SECONDS
    while not valkey.answers(launch):
        supervisor.tend()
        _require_no_crash(supervisor)
        if time.monotonic() > deadline:
            raise StackError(f"The private Valkey does not answer: read {child.log}.")
        time.sleep(0.02)
    return launch.url


def _environment(plan: Plan, folder: StateFolder, *, redis_url: str) -> dict[str, str]:
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "MIRRORING_STATE": str(folder.path),
        "REDIS_URL": redis_url,
        **plan.shared,
        "PYTHONUNBUFFERED": "1",
    }


def _start_all(
    plan: Plan, folder: StateFolder, supervisor: Supervisor, environment: Mapping[str, str]
) -> None:
    password = plan.flower_password or folder.secret("flower_password")
    own = {"flower": {"FLOWER_BASIC_AUTH": f"{STACK_USER}:{password}"}}
    for process in processes(plan.layout):
        command = (sys.executable, *process.arguments)
        supervisor.start(
            process.name, command, environment={**environment, **own.get(process.name, {})}, cwd=plan.root
        )
        folder.note_children(supervisor.pids())


def _await_ready(plan: Plan, supervisor: Supervisor, stop: Stop) -> None:
    layout, began, told = plan.layout, time.monotonic(), 0.0
    while not stop.asked:
        lacking = readiness.missing(layout.web_host, layout.web_port, public_url=plan.public_url)
        if lacking is None:
            return
        waited = time.monotonic() - began
        if waited > START_SECONDS:
            raise StackError(f"Not ready after {START_SECONDS:.0f} s: {lacking}. Logs: {supervisor.logs}")
        if waited - told > NEWS_SECONDS:
            told = waited
            plan.say(f"Not ready yet: {lacking}")
        supervisor.tend()
        _require_no_crash(supervisor)
        time.sleep(PAUSE_SECONDS)


def _require_no_crash(supervisor: Supervisor) -> None:
    for child in supervisor.children:
        if child.failures >= TRIES_AT_START:
            said = [line for line in child.log.read_text(errors="replace").splitlines() if line.strip()]
            raise StackError(
                f"{child.name} does not start: {(said or ['it says nothing'])[-1]} (log: {child.log})"
            )


def _publish(plan: Plan, folder: StateFolder, supervisor: Supervisor, redis_url: str) -> None:
    pids = supervisor.pids()
    folder.note_children(pids)
    facts = {
        "redis_url": redis_url,
        "environment": dict(plan.shared),
        "web_url": plan.public_url,
        "admin_url": f"{plan.public_url}/admin/",
        "flower_url": plan.flower_url,
        "admin_user": STACK_USER,
        "pids": pids,
    }
    folder.write_card(facts)


def _tend(plan: Plan, folder: StateFolder, supervisor: Supervisor, redis_url: str) -> None:
    if supervisor.tend():
        _publish(plan, folder, supervisor, redis_url)
    time.sleep(PAUSE_SECONDS)


def _import(mirrors: str, plan: Plan, environment: Mapping[str, str]) -> None:
    """Import a list by the ordinary command, which says itself what is wrong with it."""
    if mirrors:
        command = [sys.executable, str(plan.root / "manage.py"), "mirror", "import", mirrors]
        with suppress(OSError):
            subprocess.run(command, env=dict(environment), check=False)
