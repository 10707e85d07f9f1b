"""Running commands: in this process for what they do, as a process for what a person sees of an error."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Done:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def manage(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Return a function that runs `manage.py` with the given words in this process and transaction."""
    from django.core.management import load_command_class

    def run(name: str, *words: object) -> Done:
        command = load_command_class("mirroring", name)
        options = vars(command.create_parser("manage.py", name).parse_args([str(word) for word in words]))
        capsys.readouterr()
        try:
            command.execute(*options.pop("args", ()), **options)
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = capsys.readouterr()
        return Done(code=code, out=out, err=err)

    return run


@pytest.fixture
def process(child_environment: Callable[..., dict[str, str]]) -> Callable[..., Done]:
    """Return a function that runs `manage.py` as a person would."""

    def run(*words: object, stdin: bytes = b"", **environment: str) -> Done:
        done = subprocess.run(
            [sys.executable, "manage.py", *(str(word) for word in words)],
            cwd=ROOT,
            env={**child_environment(), **environment},
            input=stdin,
            capture_output=True,
            timeout=60,
        )
        return Done(code=done.returncode, out=os.fsdecode(done.stdout), err=os.fsdecode(done.stderr))

    return run
