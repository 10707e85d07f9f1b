"""A process that is kept while it is of use: tied to this one as every git is, bounded, and ended with its group."""

import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from mirroring.upstream.git import confinement
from mirroring.upstream.git.confinement import Limits
from mirroring.upstream.git.leash import LEASH
from mirroring.upstream.git.process import NOTHING, kill_group

MOST_SAID = 64 * 1024


class Kept:
    """A running process. `said` is the file of its error output."""

    def __init__(self, process: subprocess.Popen[bytes], said: Path) -> None:
        self._process = process
        self._said = said

    @property
    def runs(self) -> bool:
        """Say whether it still runs."""
        return self._process.poll() is None

    def said(self) -> str:
        """Return what it wrote to its error output."""
        return self._said.read_text(errors="replace")


@contextmanager
def keeping(
    command: Sequence[str | Path], *, environment: Mapping[str, str], said: Path, memory: int
) -> Iterator[Kept]:
    """Start a process, and end it and all that it started afterwards.

    It dies with the thread that starts it: that has to be one which lives as long as the process is needed.
    """
    limits = Limits(memory=memory, file_size=MOST_SAID)
    held = [*confinement.prefix(limits), *(str(part) for part in command)]
    with NOTHING.open("r+b") as nothing, said.open("wb") as errors:
        process = subprocess.Popen(
            held,
            env=dict(environment),
            stdin=nothing,
            stdout=nothing,
            stderr=errors,
            start_new_session=True,
        )
    with LEASH.holding(process.pid):
        try:
            yield Kept(process, said)
        finally:
            if process.returncode is None:  # Not yet reaped, so the number is still its own.
                kill_group(process.pid, signal.SIGKILL)
            process.wait()
