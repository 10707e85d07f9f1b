"""Sidekiq's `push_bulk`, from Debian's package ruby-sidekiq, into the same Redis."""

import json
import shutil
import subprocess
from pathlib import Path

from bench.harness.lab import Lab
from bench.harness.measure import Cost, Measured, require

NAME = "Sidekiq push_bulk"
MISSING = "no ruby with sidekiq here (Debian: apt install ruby-sidekiq)"
SCRIPT = Path(__file__).with_name("sidekiq_push.rb")


def measure(place: Lab, *, jobs: int, rounds: int) -> Measured | None:
    """Return what Sidekiq takes to push this many jobs; None where it is not installed."""
    if not installed():
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


def installed() -> bool:
    """Say whether there is a Ruby that knows Sidekiq."""
    if not shutil.which("ruby"):
        return False
    return subprocess.run(["ruby", "-e", "require 'sidekiq'"], capture_output=True).returncode == 0
