"""What a wrong environment says: one line, no traceback, and what to write instead."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"REDIS_URL": "foo"}, "REDIS_URL must start with redis://"),
        ({"WEB_PORT": "x"}, "WEB_PORT is 'x': set it to a whole number from 1 to 65535"),
        ({"IMPORT_SLOTS": "0"}, "IMPORT_SLOTS is '0'"),
        ({"ALLOW_PRIVATE_UPSTREAMS": "10.0.0.1/8"}, "10.0.0.1/8 has bits set behind its /: write 10.0.0.0/8"),
        ({"ALLOW_PRIVATE_UPSTREAMS": "http://h"}, "neither a network like 10.0.0.0/8 nor a host name"),
        ({"DATABASE_URL": "nonsense"}, "DATABASE_URL must start with postgresql:// or sqlite:///"),
        ({"MIRRORING_STATE": "/proc/nowhere"}, "set MIRRORING_STATE to a folder that you may write"),
        (
            {"MIRRORING_STATE": "/etc/passwd"},
            "The state folder /etc/passwd is not a folder: set MIRRORING_STATE",
        ),
    ],
)
def test_a_wrong_environment_is_told_in_one_line(variables, says, tmp_path):
    environment = {"PATH": os.environ["PATH"], "MIRRORING_STATE": str(tmp_path), **variables}

    command = [sys.executable, str(ROOT / "manage.py"), "mirror", "list"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    assert ended.returncode == 1
    assert says in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
