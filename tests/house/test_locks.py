"""The locks: what pip of a fresh Debian must be able to install."""

import re
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PIN = re.compile(r"^([a-z0-9._-]+)(?:\[([a-z0-9,._-]+)\])?==", re.IGNORECASE | re.MULTILINE)


def pins(lock: str) -> dict[str, set[str]]:
    """Return the extras that each package of a lock is pinned with."""
    found = PIN.findall((ROOT / lock).read_text())
    return {canonicalize_name(name): set(filter(None, extras.split(","))) for name, extras in found}


@pytest.mark.one_database
@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-test.txt"])
def test_what_is_needed_with_an_extra_is_pinned_with_it(lock):
    """Without it pip 23 takes the newest release for the extra, which has no hash here: the set-up fails one day."""
    locked = pins(lock)
    needed = [
        (package.name, Requirement(line))
        for package in distributions()
        if canonicalize_name(package.name) in locked
        for line in package.requires or ()
    ]
    asked = [
        (who, wanted)
        for who, wanted in needed
        if wanted.extras
        and (not wanted.marker or wanted.marker.evaluate({"extra": ""}))
        and canonicalize_name(wanted.name) in locked
    ]
    missing = {
        f"{who} needs {wanted}"
        for who, wanted in asked
        if not wanted.extras <= locked[canonicalize_name(wanted.name)]
    }
    assert not missing
    assert lock == "requirements.txt" or asked, "nothing was looked at"


def test_no_lock_names_an_index():
    for lock in ROOT.glob("requirements*.txt"):
        assert "index-url" not in lock.read_text(), lock.name
