"""How git is tied to its worker by the kernel: it dies with its parent, and all of its children with it."""

import functools
import os
import resource
import shutil
import subprocess
from dataclasses import dataclass

_DIES_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"')
"""The number of the parent follows. One that died before the kernel was told sends no signal: then nothing starts."""
_OWN_PIDS = ("unshare", "--pid", "--fork", "--kill-child=KILL")
_OWN_PIDS_AS_USER = ("unshare", "--user", "--map-current-user", "--pid", "--fork", "--kill-child=KILL")
"""As root no user name space is needed, and none is made: inside one, files of others could not be read."""


@dataclass(frozen=True)
class Limits:
    """What the kernel holds one process to, in bytes; zero means that there is no limit."""

    memory: int = 0
    file_size: int = 0


NO_LIMITS = Limits()


def prefix() -> tuple[str, ...]:
    """Return the strongest prefix of a command that this machine allows; empty where it allows none.

    In a PID name space the kernel kills every descendant with the first process, and `--kill-child` kills that one
    with `unshare`, which itself dies with the thread that started it. The prefix is for commands that this process
    starts itself.
    """
    found = spaces()
    return () if found is None else _tied(*found)


@functools.cache
def spaces() -> tuple[str, ...] | None:
    """Return what a command can be started in here: a PID name space or nothing. None: it cannot even be tied to us."""
    own = _OWN_PIDS if os.geteuid() == 0 else _OWN_PIDS_AS_USER
    return next((tried for tried in (own, ()) if _works(_tied(*tried))), None)


def _tied(*command: str) -> tuple[str, ...]:
    return (*_DIES_WITH_PARENT, str(os.getpid()), *command)


def limits(bounds: Limits) -> tuple[str, ...]:
    """Return the prefix by which the kernel holds a command, and all that it starts, to these limits."""
    if not shutil.which("prlimit"):
        return ()
    wanted = (("as", bounds.memory, resource.RLIMIT_AS), ("fsize", bounds.file_size, resource.RLIMIT_FSIZE))
    kept = [f"--{name}={_allowed(value, which)}" for name, value, which in wanted if value]
    return ("prlimit", "--core=0", *kept, "--")


def _allowed(value: int, which: int) -> int:
    """Return the limit, or our own if that is lower: only root could raise it, and nobody wants it raised."""
    own = resource.getrlimit(which)[0]
    return value if own == resource.RLIM_INFINITY else min(value, own)


def _works(candidate: tuple[str, ...]) -> bool:
    if not shutil.which(candidate[0]):
        return False
    try:
        tried = subprocess.run([*candidate, "true"], capture_output=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0
