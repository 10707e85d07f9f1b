"""The product as a user meets it: its stack, its command line, its pages."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

from tests.acceptance import processes
from tests.acceptance.journal import Journal
from tests.acceptance.plan import Failed, Plan

START_SECONDS = 90.0
STOP_SECONDS = 30.0
COMMAND_SECONDS = 90.0
MANAGE = str(processes.ROOT / "manage.py")
FLAGS = ("project_import_schedule_worker_job_tracker", "update_all_mirrors_job_tracker")
CHECKS = "check_before_import"


class Stack:
    """`manage.py up` as a process, stopped and cleaned up with the block."""

    def __init__(self, folder: Path, plan: Plan, journal: Journal, *, git: str) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.journal = journal
        self.web = f"http://127.0.0.1:{(port := processes.free_port())}"
        self.environment = processes.clean_environment() | {
            "MIRRORING_STATE": str(self.state),
            "MIRRORING_GIT": git,
            "ALLOW_PRIVATE_UPSTREAMS": processes.LOOPBACK,
            "WEB_PORT": str(port),
            "FLOWER_PORT": str(processes.free_port()),
            # More slots than the cap: it is the tracker that holds the cap, not a want of threads.
            "IMPORT_SLOTS": str(plan.cap + max(4, plan.cap // 2)),
            "PYTHONUNBUFFERED": "1",
        }
        self._up: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, MANAGE, "up"]
        self._up = processes.leashed(
            command,
            environment=self.environment,
            report=self.folder / "left.json",
            log=self.folder / "up.log",
            grace=STOP_SECONDS,
        )
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the stack as Ctrl-C would, and note what it left running."""
        if self._up is None:
            return
        up, self._up = self._up, None
        assert up.stdin
        up.stdin.close()
        up.wait(STOP_SECONDS + 15)
        report = self.folder / "left.json"
        left = json.loads(report.read_text())["left"] if report.exists() else []
        for command in left:
            self.journal.note("left_behind", command=command)
        self.journal.note("stopped", "the stack has stopped", left=len(left))

    def wait_until_up(self) -> str:
        """Wait until the stack says where it is and answers; return the address of its Redis."""
        deadline = time.monotonic() + START_SECONDS
        card = self.state / "stack.json"
        while not (card.exists() and self.get("/-/livez")):
            if self._up is None or self._up.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"the stack did not start: {self._obstacle()}")
            time.sleep(0.2)
        return str(json.loads(card.read_text())["redis_url"])

    def _obstacle(self) -> str:
        try:
            parts = json.loads(self.get("/-/readyz", status=503) or "{}").get("parts", {})
        except ValueError:
            parts = {}
        waiting = [f"{name}: {part['detail']}" for name, part in parts.items() if not part["ready"]]
        return f"{'; '.join(waiting) or last_line(self.folder / 'up.log')} (logs in {self.state / 'logs'})"

    def get(self, path: str, *, status: int = 200) -> str:
        """Return a page; empty if it cannot be had with this status."""
        try:
            with urllib.request.urlopen(self.web + path, timeout=5) as answer:
                return str(answer.read().decode()) if answer.status == status else ""
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode(errors="replace") if error.code == status else ""
        except (urllib.error.URLError, OSError):
            return ""

    def cli(self, *words: str) -> Any:
        """Run one command with --json and return what it prints."""
        self.journal.note("command", words=words)
        done = subprocess.run(
            [sys.executable, MANAGE, *words, "--json"],
            cwd=processes.ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        if done.returncode:
            raise Failed(
                f"`manage.py {' '.join(words)}` ended with {done.returncode}: {done.stderr.strip()[-300:]}"
            )
        return json.loads(done.stdout)

    def flags(self) -> list[bool]:
        """Return both flags, as the command line reports them."""
        values = {flag["name"]: bool(flag["value"]) for flag in self.cli("feature", "list")}
        return [values[name] for name in FLAGS]


def last_line(log: Path) -> str:
    """Return the last line of a log, for a message."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1][:300] if lines else "it said nothing"
