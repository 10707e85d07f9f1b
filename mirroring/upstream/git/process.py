"""Running one git command: own process group, deadline, bounded output, and a handle by which others stop it."""

import os
import re
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO

from mirroring.logs import redact
from mirroring.rules.outcomes import Outcome, classify
from mirroring.upstream.errors import GitError
from mirroring.upstream.git import confinement
from mirroring.upstream.git.confinement import NO_LIMITS, Limits
from mirroring.upstream.git.leash import LEASH

KEPT_OUTPUT = 64 * 1024
"""Bytes of error output that are kept, from the end: a remote may send any amount."""

NOTHING = Path(os.devnull)
WATCH_SECONDS = 1.0
TERM_GRACE = timedelta(seconds=2)
ERROR_LENGTH = 1000


@dataclass(frozen=True)
class Stopped:
    """Why a job was stopped."""

    outcome: Outcome
    reason: str


class StopHandle:
    """Lets the heartbeat stop the git processes of one import, whichever of them is running."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._group: int | None = None
        self.stopped: Stopped | None = None

    def stop(self, stopped: Stopped) -> None:
        """Kill the running process group and let no further one start. The first reason is kept."""
        with self._lock:
            self.stopped = self.stopped or stopped
            if self._group is not None:
                kill_group(self._group, signal.SIGKILL)

    def check(self) -> None:
        """Raise GitError if the job was stopped."""
        if self.stopped:
            raise GitError(self.stopped.outcome, self.stopped.reason)

    def watch(self, group: int | None) -> None:
        """Note the process group that runs now; one that starts after the stop is killed at once."""
        with self._lock:
            self._group = group
            if group is not None and self.stopped:
                kill_group(group, signal.SIGKILL)


def kill_group(group: int, number: int) -> None:
    """Signal a process group that may be gone."""
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def run(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str],
    timeout: timedelta,
    stop: StopHandle,
    output_limit: int = 64 * 1024 * 1024,
    pass_fds: Sequence[int] = (),
    limits: Limits = NO_LIMITS,
    watch: Callable[[], None] | None = None,
    quote_remote: bool = True,
    given: Path | bytes = NOTHING,
    script: str = "",
) -> str:
    """Run one command to its end and return its standard output. Raise GitError for every other ending.

    `watch` is called at least each second and ends the command by raising GitError. Without `quote_remote`, the
    error text leaves out what a server said. `given` is its standard input, or the file of that. `script`: what a shell
    does with the command, as `confinement.script` has it.
    """
    stop.check()
    first = confinement.script(script, limits) if script else confinement.prefix(limits)
    held = [*first, *(str(part) for part in command)]
    with _started(held, environment, pass_fds, given) as process, LEASH.holding(process.pid):
        stop.watch(process.pid)
        deadline = time.monotonic() + timeout.total_seconds()
        try:
            out, err = _drain(process, deadline=deadline, limit=output_limit, watch=watch)
        finally:
            # The leader is not yet reaped, so the number is still ours: nothing else can be hit.
            kill_group(process.pid, signal.SIGKILL)
            stop.watch(None)
            process.wait()
    stop.check()
    if process.returncode != 0:
        said = err.decode(errors="replace")
        text = sanitize(said if quote_remote else without_remote(said))
        raise GitError(classify(said), text or f"git ended with status {process.returncode}")
    return out.decode(errors="surrogateescape")


def _started(
    command: Sequence[str], environment: Mapping[str, str], pass_fds: Sequence[int], given: Path | bytes
) -> subprocess.Popen[bytes]:
    with _in_memory(given) if isinstance(given, bytes) else given.open("rb") as standard_input:
        return subprocess.Popen(
            command,
            env=dict(environment),
            stdin=standard_input,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=pass_fds,
            start_new_session=True,  # Killing git alone would leave its remote helpers behind.
        )


def _in_memory(content: bytes) -> IO[bytes]:
    """Return a file that is on no disk."""
    file = os.fdopen(os.memfd_create("given"), "r+b", buffering=0)
    file.write(content)
    file.seek(0)
    return file


def _drain(
    process: subprocess.Popen[bytes], *, deadline: float, limit: int, watch: Callable[[], None] | None
) -> tuple[bytes, bytes]:
    """Read both pipes until they close. Past the deadline, or with too much output, kill the group and raise."""
    out, err = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(_pipe(process.stdout), selectors.EVENT_READ, (out, limit + 1))
        selector.register(_pipe(process.stderr), selectors.EVENT_READ, (err, KEPT_OUTPUT))
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                _end(process)
                raise GitError(
                    Outcome.HUNG, "timed out: the upstream did not finish within the fetch timeout"
                )
            for key, _ in selector.select(min(left, WATCH_SECONDS) if watch else left):
                _read(key, selector)
            if len(out) > limit:
                _end(process)
                raise GitError(Outcome.TOO_BIG, f"the command printed more than {limit} bytes")
            if watch:
                watch()
    return bytes(out), bytes(err)


def _pipe(end: IO[bytes] | None) -> IO[bytes]:
    """Return an end that Popen was told to open."""
    if end is None:
        raise AssertionError("the pipe was not asked for")
    return end


def _read(key: selectors.SelectorKey, selector: selectors.BaseSelector) -> None:
    pipe: IO[bytes] = key.fileobj  # type: ignore[assignment]
    chunk = os.read(pipe.fileno(), 1 << 16)
    if not chunk:
        selector.unregister(pipe)
        return
    kept, bound = key.data
    kept += chunk
    del kept[:-bound]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the group to end, then kill it. The leader is not reaped here, so that its number stays ours."""
    kill_group(process.pid, signal.SIGTERM)
    until = time.monotonic() + TERM_GRACE.total_seconds()
    while time.monotonic() < until:
        if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
        time.sleep(0.05)
    kill_group(process.pid, signal.SIGKILL)


_REMOTE = re.compile(
    r"^remote: .*\n?|((?:remote error|protocol error|bad line length character|bad band[^:]*):?).*",
    re.MULTILINE,
)
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\u00a0-\uffff]+")


def without_remote(text: str) -> str:
    """Return what git said without what the server said: of a server inside, nobody may read an answer through us."""
    return _REMOTE.sub(r"\1", text)


def sanitize(text: str) -> str:
    """Return what a remote or git said, fit for showing: no secrets, no control characters, bounded."""
    clean = _UNPRINTABLE.sub(" ", redact(text)).strip()
    # The end is kept: git says last what it died of, after everything that the remote had to say.
    return clean if len(clean) <= ERROR_LENGTH else f"… {clean[2 - ERROR_LENGTH :]}"
