"""An environment: a deployment with its own checked-out commit, database, Redis and processes."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.acceptance import processes
from tests.acceptance.journal import Journal
from tests.acceptance.plan import Failed
from tests.acceptance.seed.builds import git

START_SECONDS = 150.0
STOP_SECONDS = 40.0
COMMAND_SECONDS = 150.0


@dataclass
class Environment:
    """One deployment, started by `manage.py up` from its own checkout."""

    name: str
    folder: Path
    builds: Path
    journal: Journal
    variables: dict[str, str]
    web_port: int = field(default_factory=processes.free_port)
    flower_port: int = field(default_factory=processes.free_port)
    redis_url: str = ""
    _up: Any = None

    @property
    def web(self) -> str:
        """Return where its pages are."""
        return f"http://127.0.0.1:{self.web_port}"

    @property
    def flower(self) -> str:
        """Return where its Flower is."""
        return f"http://127.0.0.1:{self.flower_port}"

    @property
    def checkout(self) -> Path:
        """Return its working tree."""
        return self.folder / "checkout"

    @property
    def state(self) -> Path:
        """Return its state folder, which holds its database."""
        return self.folder / "state"

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of its processes."""
        return processes.clean_environment() | {
            "ALLOW_PRIVATE_UPSTREAMS": processes.LOOPBACK,
            "MIRRORING_STATE": str(self.state),
            "MIRRORING_ENVIRONMENT": self.name,
            "WEB_PORT": str(self.web_port),
            "FLOWER_PORT": str(self.flower_port),
            "PYTHONUNBUFFERED": "1",
            **self.variables,
        }

    # -- deployments ------------------------------------------------------------------------------------------------

    def deploy(self, commit: str, **variables: str) -> None:
        """Check out a commit and start the stack from it; what ran before is stopped. More environment as keywords."""
        self.stop()
        if not self.checkout.exists():
            self.folder.mkdir(parents=True)
            git(self.folder, "clone", "-q", "--no-checkout", str(self.builds), str(self.checkout))
        git(self.checkout, "fetch", "-q", "origin")
        git(self.checkout, "checkout", "-q", "--detach", commit)
        self._up = processes.leashed(
            # From within its checkout: Celery puts the working folder before everything else that is imported.
            ["env", "-C", str(self.checkout), sys.executable, "manage.py", "up"],
            environment={**self.environment, **variables},
            report=self.folder / "left.json",
            log=self.folder / "up.log",
            grace=STOP_SECONDS,
        )
        self._wait_until_up()
        self.journal.note(
            "deployed",
            f"{self.name} runs {commit[:10]}",
            environment=self.name,
            commit=commit,
            web=self.web,
            state=str(self.state),
            redis=self.redis_url,
            **variables,
        )

    def stop(self) -> None:
        """Stop the stack as Ctrl-C would."""
        if self._up is None:
            return
        up, self._up = self._up, None
        up.stdin.close()
        up.wait(STOP_SECONDS + 15)
        report = self.folder / "left.json"
        left = json.loads(report.read_text())["left"] if report.exists() else []
        self.journal.note("stopped", environment=self.name, left=left)

    def _wait_until_up(self) -> None:
        deadline, card = time.monotonic() + START_SECONDS, self.state / "stack.json"
        while not (card.exists() and self.get("/-/readyz")):
            if self._up.poll() is not None or time.monotonic() > deadline:
                log = self.folder / "up.log"
                said = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
                raise Failed(f"{self.name} did not start: {' / '.join(said[-3:])[-400:]} (log: {log})")
            time.sleep(0.3)
        self.redis_url = str(json.loads(card.read_text())["redis_url"])

    # -- talking to it ----------------------------------------------------------------------------------------------

    def get(self, path: str) -> str:
        """Return a page; empty if it cannot be had."""
        try:
            with urllib.request.urlopen(self.web + path, timeout=10) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, OSError):
            return ""

    def manage(
        self, *words: str, may_refuse: bool = False, folder: Path | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command of its build beside its processes."""
        done = subprocess.run(
            [sys.executable, str((folder or self.checkout) / "manage.py"), *words],
            cwd=folder or self.checkout,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        self.journal.note(
            "command", environment=self.name, words=words, exit=done.returncode, said=done.stdout[-4000:]
        )
        if done.returncode and not may_refuse:
            raise Failed(f"{self.name}: `manage.py {' '.join(words)}`: {(done.stderr or done.stdout)[-400:]}")
        return done

    def json(self, *words: str, may_refuse: bool = False) -> Any:
        """Run a command with --json and return what it prints."""
        return json.loads(self.manage(*words, "--json", may_refuse=may_refuse).stdout)

    def chatops(self, *words: str, may_refuse: bool = False) -> list[dict[str, Any]]:
        """Run a command of the grammar, as it would be typed in a chat; return what each environment answered."""
        answers: list[dict[str, Any]] = self.json("chatops", "run", *words, may_refuse=may_refuse)
        for answer in answers:
            said = " ".join(str(answer["text"]).split())[:160]
            where = answer["environment"] or "all"
            self.journal.note("chatops", f"/chatops run {' '.join(words)} -> {where}: {said}")
        return answers
