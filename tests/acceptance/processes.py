"""Our own processes: the upstream server, the recorder, and the product on a leash."""

import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import IO, Any, Self, cast

from tests.acceptance.plan import Failed

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 10.0
LOOPBACK = "127.0.0.0/8,::1/128"
"""ALLOW_PRIVATE_UPSTREAMS of the product: the upstreams are on this machine."""
# What would point the product at other servers and state than the demo's own.
PRODUCT_VARIABLES = (  # noqa: SIM905 words, not fifteen lines
    "REDIS_URL DATABASE_URL SECRET_KEY PUBLIC_URL WEB_HOST WEB_PORT FLOWER_PORT FLOWER_URL FLOWER_PASSWORD "
    "ALLOW_PRIVATE_UPSTREAMS CREDENTIAL_KEYS IMPORT_SLOTS METRICS_TOKEN ALLOWED_HOSTS CSRF_TRUSTED_ORIGINS DEBUG "
    "DJANGO_SETTINGS_MODULE"
).split()


class Process:
    """A Python module as a process of ours; it ends when its standard input does, so also if we are killed."""

    def __init__(self, module: str, *arguments: str | Path, output: Path) -> None:
        self._output = output.open("ab")
        self.popen = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._output,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop(patience=PATIENCE_SECONDS)

    def first_line(self) -> dict[str, Any]:
        """Wait for the line in which the process says that it is ready."""
        line = cast(IO[bytes], self.popen.stdout).readline()
        if not line:
            raise Failed(f"a process of the lab did not start; see {self._output.name}")
        return cast(dict[str, Any], json.loads(line))

    def stop(self, *, patience: float) -> None:
        """Let it end, and kill it if it does not."""
        if not self._output.closed:
            cast(IO[bytes], self.popen.stdin).close()
            try:
                self.popen.wait(patience)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
            cast(IO[bytes], self.popen.stdout).close()
            self._output.close()


def leashed(command: list[str], *, environment: dict[str, str], report: Path, log: Path, grace: float) -> Any:
    """Start a command that ends with us, whatever happens to us; returns its open leash."""
    words = [sys.executable, "-m", "tests.lab.leash", "--grace", str(grace), "--report", str(report), "--"]
    with log.open("ab") as output:
        return subprocess.Popen(
            [*words, *command],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def clean_environment() -> dict[str, str]:
    """Return our environment without everything that configures the product."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in PRODUCT_VARIABLES and not name.startswith(("MIRRORING_", "GIT_"))
    }


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def check_tools() -> None:
    """Refuse to begin without git and its HTTP server."""
    git = shutil.which("git")
    if git is None:
        raise Failed("git is not on PATH: install git")
    folder = subprocess.run([git, "--exec-path"], capture_output=True, text=True, check=True).stdout.strip()
    if not (Path(folder) / "git-http-backend").exists():
        raise Failed("git has no http-backend here: install the full git package")
