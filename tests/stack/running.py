"""A real stack (`manage.py up`) in a folder of its own, for tests."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from mirroring.stack.ports import free_port

ROOT = Path(__file__).resolve().parents[2]


def environment(state: Path, **changes: str) -> dict[str, str]:
    """The environment of somebody who has set nothing but the folder and two ports."""
    ours = ("REDIS_URL", "DATABASE_URL", "DJANGO_SETTINGS_MODULE")
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    ports = {"WEB_PORT": str(free_port()), "FLOWER_PORT": str(free_port())}
    return {**kept, "MIRRORING_STATE": str(state), **ports, **changes}


def manage(*words: str, env: dict[str, str], timeout: float = 60) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", *words]
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=timeout)


class RunningStack:
    def __init__(self, state: Path, *options: str, **changes: str) -> None:
        self.state = state
        self.env = environment(state, **changes)
        self.output = state.with_name(state.name + ".out")
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up", *options], env=self.env, cwd=ROOT, stdout=out, stderr=out
            )

    def until(self, condition: Any, *, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"the stack ended: {self.said()}"
            assert time.monotonic() < deadline, f"it never happened: {self.said()}"
            time.sleep(0.05)

    def wait_until_up(self) -> "RunningStack":
        self.until(lambda: "Ctrl-C stops everything." in self.said())
        return self

    def said(self) -> str:
        return self.output.read_text()

    def card(self) -> dict[str, Any]:
        return json.loads((self.state / "stack.json").read_text())

    def get(self, path: str) -> tuple[int, str]:
        with urllib.request.urlopen(self.card()["web_url"] + path, timeout=10) as answer:
            return answer.status, answer.read().decode()

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def ask_to_stop(self, number: int = signal.SIGINT) -> float:
        """Send a signal and return how many seconds the end took."""
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(60)
        return time.monotonic() - began

    def __enter__(self) -> "RunningStack":
        return self

    def __exit__(self, *_: object) -> None:
        self.abandon()

    def abandon(self) -> None:
        if self.process.poll() is None:
            self.ask_to_stop(signal.SIGTERM)
