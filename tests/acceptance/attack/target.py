"""The product under attack: its stack without any leniency, and acts on it."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from tests.acceptance import processes
from tests.acceptance.attack.plan import Plan
from tests.acceptance.journal import Journal
from tests.acceptance.plan import Failed
from tests.acceptance.plan import Plan as DemoPlan
from tests.acceptance.stack import CHECKS, FLAGS, MANAGE, Stack

ACT_SECONDS = 120.0


class Target:
    """A stack that allows no private network, with settings for a run of minutes."""

    def __init__(self, folder: Path, plan: Plan, journal: Journal) -> None:
        self.folder, self.plan, self.journal = folder, plan, journal
        folder.mkdir(exist_ok=True)
        self.stack = Stack(folder, DemoPlan(cap=plan.cap), journal, git=shutil.which("git") or "git")
        self.stack.environment["ALLOW_PRIVATE_UPSTREAMS"] = ""
        self.redis_url = ""

    def __enter__(self) -> Self:
        self.stack.__enter__()
        try:
            self.redis_url = self.stack.wait_until_up()
        except BaseException:
            self.stack.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stack.stop()
        for command in processes_below(self.folder / "state"):
            self.journal.note("left_behind", command=command)

    def configure(self, **settings: int) -> None:
        """Change settings, as an operator would: all in one act."""
        pairs = [str(word) for pair in settings.items() for word in pair]
        self.stack.cli("settings", "set", *pairs)

    def flags_on(self) -> None:
        """Turn both flags on, and have upstreams checked in process before they are imported if the plan says so."""
        for name in (*FLAGS, *([CHECKS] if self.plan.checks else [])):
            self.stack.cli("feature", "set", name, "true", "--force")

    def secretly(self, words: list[str], secret: str) -> str:
        """Run a command that reads a secret from its standard input; return what it printed, or why it could not."""
        done = subprocess.run(
            [sys.executable, MANAGE, *words], cwd=processes.ROOT, env=self.stack.environment, input=secret,
            capture_output=True, text=True, timeout=ACT_SECONDS, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Failed(
                f"`manage.py {' '.join(words)}` ended with {done.returncode}: {done.stderr.strip()[-300:]}"
            )
        return done.stdout

    def inside(self, act: str, given: object) -> Any:
        """Run one act inside the product."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.acceptance.attack.product", act],
            cwd=processes.ROOT,
            env=self.stack.environment | {"DJANGO_SETTINGS_MODULE": "config.settings"},
            input=json.dumps(given),
            capture_output=True,
            text=True,
            timeout=ACT_SECONDS,
            check=False,
        )
        if done.returncode:
            raise Failed(f"the act {act} inside the product failed: {done.stderr.strip()[-300:]}")
        return json.loads(done.stdout)

    def wait_for_ends(
        self, names: list[str], *, rounds: dict[str, int], seconds: float
    ) -> list[dict[str, Any]]:
        """Wait until each mirror has as many attempts behind it as it is to have; ask again for those with more."""
        deadline = time.monotonic() + seconds
        asked: dict[str, int] = {}
        while True:
            rows = self.inside("rows", names)
            pending = []
            for row in rows:
                ended = sum(attempt["ended"] for attempt in row["attempts"])
                if ended >= rounds.get(row["name"], 1):
                    continue
                pending.append(row["name"])
                if ended and ended > asked.get(row["name"], 0):
                    asked[row["name"]] = ended
                    self.stack.cli("mirror", "sync", row["name"])
            if not pending:
                return list(rows)
            if time.monotonic() > deadline:
                self.journal.note("unended", f"{len(pending)} never ended", names=pending)
                return list(rows)
            time.sleep(1.5)


def processes_below(folder: Path) -> list[str]:
    """Return the commands of processes that still work for a state folder."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            words = (process / "cmdline").read_bytes()
            environment = (process / "environ").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in words or f"MIRRORING_STATE={folder}".encode() in environment:
            found.append(words.replace(b"\0", b" ").decode(errors="replace").strip()[:200])
    return found
