"""The collector of cycles leaves checks alone: it would go through all of Django again and again."""

import subprocess
import sys

import pytest

from bench.harness.machine import ROOT

ASK = """
import gc, weakref
from mirroring.worker import spare_the_collector
spare_the_collector()
before = gc.get_stats()[0]["collections"]
kept = [[number] for number in range(10_000)]
assert gc.get_freeze_count() > 50_000, gc.get_freeze_count()
assert gc.get_stats()[0]["collections"] == before
class Ring:
    pass
def ring():
    made = Ring()
    made.itself = made
    return weakref.ref(made)
gone = ring()
kept += [[number] for number in range(30_000)]
assert gone() is None
"""

pytestmark = pytest.mark.one_database


def test_the_collector_looks_seldom_and_still_finds_cycles(child_environment):
    said = subprocess.run(
        [sys.executable, "-c", f"import django; django.setup(){ASK}"],
        cwd=ROOT,
        env=child_environment(DJANGO_SETTINGS_MODULE="config.settings"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert said.returncode == 0, said.stderr
