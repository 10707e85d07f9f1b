"""Sidekiq's `push_bulk`, from Debian's package ruby-sidekiq, into the same Redis."""

import json
import shutil
import subprocess
from pathlib import Path

from bench.harness.installed import from_debian
from bench.harness.lab import Lab
from bench.harness.measure import Cost, Measured, require

NAME = "Sidekiq push_bulk"
PACKAGE = "ruby-sidekiq"
MISSING = f"no ruby with sidekiq here (Debian, as root: apt install {PACKAGE})"
SCRIPT = Path(__file__).with_name("sidekiq_push.rb")


def measure(place: Lab, *, jobs: int, rounds: int, install: bool) -> Measured | None:
    """Return what Sidekiq takes to push this many jobs; None where it is not there and cannot be installed."""
    if install and not is_there():
        from_debian(PACKAGE)
    if not is_there():
        return None
    done = subprocess.run(
        ["ruby", str(SCRIPT), place.redis_url, str(jobs), str(rounds)],
        capture_output=True,
        text=True,
        check=False,
    )
    require(done.returncode == 0, otherwise=f"{NAME} failed: {done.stderr.strip()[-300:]}")
    answer = json.loads(done.stdout.splitlines()[-1])
    require(answer["queued"] == jobs, otherwise=f"{NAME} queued {answer['queued']} of {jobs} jobs")
    return Measured(NAME, tuple(Cost(wall=wall, cpu=0.0) for wall in answer["seconds"]))


def is_there() -> bool:
    """Say whether there is a Ruby that knows Sidekiq."""
    if not shutil.which("ruby"):
        return False
    return subprocess.run(["ruby", "-e", "require 'sidekiq'"], capture_output=True).returncode == 0
