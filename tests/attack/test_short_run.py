"""The attack itself, in short: every kind of case, with few refs, a small bomb and a hundred dead mirrors."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.fixtures import needs_sshd

ROOT = Path(__file__).resolve().parents[2]


@needs_sshd
@pytest.mark.long
@pytest.mark.one_database
@pytest.mark.timeout(1_500)
def test_a_short_attack_finds_nothing():
    sizes = {
        "ATTACK_FUZZ": "1000",
        "ATTACK_FUZZ_CONTACTS": "20",
        "ATTACK_REFS": "5000",
        "ATTACK_BOMB_MB": "400",
    }
    environment = os.environ | sizes | {"ATTACK_DEAD": "200", "ATTACK_SECONDS": "45", "SEED": "1"}

    done = subprocess.run(
        [sys.executable, "-m", "tests.acceptance.attack"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1_400,
    )  # fmt: skip

    last = done.stdout.splitlines()[-1]
    assert done.returncode == 0, last
    assert re.fullmatch(
        r"attack ok: cases=\d{4} canary_hits=0 secrets_found=0 orphans=0 bomb_peak_mb=\d\d live_lateness_ratio=[\d.]+",
        last,
    )
