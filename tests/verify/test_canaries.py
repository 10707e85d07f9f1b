"""The search for canaries, which has to find them in whatever they were wrapped."""

import json
import os
import subprocess
import sys
import time
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote

import pytest

from tests.verify.canaries import Canaries, ProcWatch

SECRET = "c4nary/Wörd+of=the day"


@pytest.fixture
def canaries():
    canaries = Canaries(control="control-marker")
    canaries.add("password", SECRET)
    return canaries


@pytest.mark.parametrize(
    "wrapped",
    [
        SECRET.encode(),
        quote(SECRET, safe="").encode(),
        json.dumps({"x": SECRET}).encode(),
        SECRET.encode().hex().encode(),
        *(b64encode(f"{'u' * n}:{SECRET}{'v' * m}".encode()) for n in range(3) for m in range(3)),
        *(urlsafe_b64encode(f"{'u' * n}{SECRET}".encode()) for n in range(3)),
    ],
)
def test_a_secret_is_found_in_every_form(canaries, wrapped):
    canaries.search(b"before " + wrapped + b" after", sink="log")

    assert canaries.found


def test_what_is_no_secret_is_not_found_and_a_sink_without_marker_is_blind(canaries):
    canaries.search(b"nothing control-marker", sink="log")
    canaries.search(b"nothing", sink="dump")

    assert not canaries.found
    assert canaries.blind("log", "dump", "never searched") == ["dump", "never searched"]


def test_any_line_of_a_key_is_found(canaries):
    body = "\n".join(os.urandom(24).hex() for _ in range(4))
    canaries.add("key", f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
    canaries.search(body.splitlines()[2].encode(), sink="log")

    assert canaries.found


@pytest.mark.parametrize("how", ["argv", "environ"])
def test_a_process_that_shows_a_secret_is_seen(canaries, how):
    watch = ProcWatch(canaries, pattern=b"control-marker")
    watch.start()
    script = "import time; time.sleep(0.3)"
    words = [sys.executable, "-c", script, "control-marker", SECRET if how == "argv" else ""]
    subprocess.run(words, env={"X": SECRET} if how == "environ" else {}, check=True)
    time.sleep(0.01)
    watch.stop()

    assert any(f"in {how}" in found for found in canaries.found)
