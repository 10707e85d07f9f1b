"""A contender in a process of its own: it does one turn for each line that it is sent, and answers with a JSON line."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from bench.harness.machine import ROOT
from bench.harness.measure import Void
from mirroring.stack.children import dies_with_parent


class Remote:
    """The process, from its first answer (`ready`: what it said of itself) to the end of the block."""

    def __init__(self, name: str, command: Sequence[object], *, log: Path) -> None:
        self.name = name
        self.log = log
        self.ready: dict[str, Any] = {}
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [*dies_with_parent(), *map(str, command)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    @property
    def pid(self) -> int:
        """Return the id of the process."""
        return self._process.pid

    def __enter__(self) -> Self:
        self.ready = self._answer()
        return self

    def __exit__(self, *exception: object) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def turn(self, *words: object) -> dict[str, Any]:
        """Have it do one turn; return what it says of it."""
        assert self._process.stdin
        try:
            print(*words, file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise self._ended() from None
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _ended(self) -> Void:
        return Void(f"{self.name} ended: {self.log.read_text(errors='replace').strip()[-300:]}")
