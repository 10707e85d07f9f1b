"""The chaos itself, in short: 40 mirrors for a minute, with the naive arm and the whole verdict."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_short_chaos_loses_nothing_where_the_naive_arm_does(request: pytest.FixtureRequest, tmp_path: Path):
    environment = os.environ | {
        "CHAOS_MIRRORS": "40",
        "CHAOS_SECONDS": "60",
        "DATABASE": request.config.getoption("database"),
        "SEED": "1",
    }

    done = subprocess.run(
        [sys.executable, "-m", "tests.acceptance.chaos"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=880,
    )

    last = done.stdout.splitlines()[-1]
    assert done.returncode == 0, last
    assert re.fullmatch(
        r"chaos ok: kills=\d+ mirrors=40 imports=\d+ lost=0 stuck=0 double_writers=0 over_cap=0 leaked_slots=0"
        r" orphans=0 torn_refs=0 worst_recovery_s=[\d.]+ recovery_bound_s=\d+ naive_lost=\d+ naive_leaked=\d+",
        last,
    )
