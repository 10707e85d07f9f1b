"""What a measurement ran on: the machine, the versions, and how busy it was."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("Django", "celery", "kombu", "redis", "psycopg")


def facts() -> dict[str, Any]:
    """Return date, machine, versions, revision and load, for every line that is written."""
    return {
        "date": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {"python": platform.python_version(), "git": _git_version()}
        | {name: version(name) for name in PACKAGES},
        "revision": _said("git", "describe", "--always", "--dirty", "--abbrev=12"),
        "load": round(os.getloadavg()[0], 2),
    }


def machine() -> str:
    """Return processor, cores, memory and system in a line."""
    models = [
        line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = models[0] if models else platform.processor() or "unknown processor"
    return f"{os.cpu_count()} x {model}, {memory:.0f} GiB, {platform.system()} {platform.release()}"


def _git_version() -> str:
    return _said("git", "--version").removeprefix("git version ")


def _said(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []
