"""The web process as it runs in production: gunicorn with threads, on a free port of this machine."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mirroring.stack.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 30.0


@dataclass(frozen=True)
class WebServer:
    """A running server."""

    url: str
    pid: int
    log: Path

    def git(self, path: str) -> str:
        """Return the address of a mirror for git."""
        return f"{self.url}/git/{path}.git"


@contextlib.contextmanager
def serve(environment: Mapping[str, str], *, log: Path, threads: int = 16) -> Iterator[WebServer]:
    """Run the server as long as the block lasts."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "config.wsgi:application", "--bind", f"127.0.0.1:{port}"]
    options = [
        "--worker-class",
        "gthread",
        "--workers",
        "1",
        "--threads",
        str(threads),
        "--no-control-socket",
    ]
    url = f"http://127.0.0.1:{port}"
    variables = {**environment, "PUBLIC_URL": url, "WEB_PORT": str(port)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *options],
            env=variables,
            cwd=ROOT,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _wait(url, process, log)
        yield WebServer(url=url, pid=process.pid, log=log)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{url}/-/livez", timeout=5) as answer:
                answer.read()
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The web server did not start: {log.read_text()[-3000:]}") from None
            time.sleep(0.05)
