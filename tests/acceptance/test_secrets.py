"""The whole stack with canary secrets: nothing of them anywhere but where they belong."""

import re
import subprocess
import sys

import pytest

from tests.acceptance.processes import clean_environment
from tests.lab.fixtures import needs_sshd

pytestmark = [pytest.mark.long, needs_sshd]


@pytest.mark.timeout(400)
def test_no_secret_is_found_outside_of_its_place(tmp_path):
    environment = clean_environment() | {"TMPDIR": str(tmp_path), "SEED": "7"}
    command = [sys.executable, "-m", "tests.acceptance.secrets"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)

    last = done.stdout.strip().rpartition("\n")[2]
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.match(r"secrets ok: seed=7 kinds=3 secrets=\d+ imports=\d+ .* secrets_found=0 ", last)
