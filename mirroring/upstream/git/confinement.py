"""How git is tied to its worker by the kernel: it dies with its parent, and all of its children with it."""

import functools
import os
import resource
import shutil
import subprocess
from dataclasses import dataclass

_DIES_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
_PARENT_LIVES = '[ "$PPID" = "$0" ] && '
"""The number of the parent follows. One that died before the kernel was told sends no signal: then nothing starts."""
_COMMAND = 'exec "$@"'
_OWN_PIDS = ("unshare", "--pid", "--fork", "--kill-child=KILL")
_OWN_PIDS_AS_USER = ("unshare", "--user", "--map-current-user", "--pid", "--fork", "--kill-child=KILL")
"""As root no user name space is needed, and none is made: inside one, files of others could not be read."""


@dataclass(frozen=True)
class Limits:
    """What the kernel holds one process to, in bytes; zero means that there is no limit."""

    memory: int = 0
    file_size: int = 0


NO_LIMITS = Limits()


def prefix(limits: Limits = NO_LIMITS) -> tuple[str, ...]:
    """Return the strongest prefix of a command that this machine allows, which holds it to these limits, too.

    In a PID name space the kernel kills every descendant with the first process, and `--kill-child` kills that one
    with `unshare`, which itself dies with the thread that started it. The prefix is for commands that this process
    starts itself.
    """
    found = spaces()
    return ("sh", "-c", _held(limits), "sh") if found is None else _tied(*found, limits=limits)


def script(words: str, limits: Limits = NO_LIMITS) -> tuple[str, ...]:
    """Return the beginning of a command that is a few words of a shell; their arguments follow.

    The shell is tied and held as a command is, and has no name space, which costs as much as a git. So whatever the
    words start goes through `tied`, and the last through `exec`.
    """
    tie = () if spaces() is None else _DIES_WITH_PARENT
    words = f'tied() {{ {" ".join(tie)} "$@"; }} && {words}'
    return _tied(limits=limits, words=words) if tie else ("sh", "-c", _held(limits, words), "sh")


@functools.cache
def spaces() -> tuple[str, ...] | None:
    """Return what a command can be started in here: a PID name space or nothing. None: it cannot even be tied to us."""
    own = _OWN_PIDS if os.geteuid() == 0 else _OWN_PIDS_AS_USER
    return next((tried for tried in (own, ()) if _works(_tied(*tried))), None)


def _tied(*command: str, limits: Limits = NO_LIMITS, words: str = _COMMAND) -> tuple[str, ...]:
    # One shell for both: each program that only prepares the next costs as much as half of a git.
    return (*_DIES_WITH_PARENT, "sh", "-c", _PARENT_LIVES + _held(limits, words), str(os.getpid()), *command)


def _held(limits: Limits, words: str = _COMMAND) -> str:
    """Return words of a shell, which is held to limits first, by the kernel, with all that it starts."""
    wanted = (
        ("v", 1024, limits.memory, resource.RLIMIT_AS),
        ("f", 512, limits.file_size, resource.RLIMIT_FSIZE),
    )
    kept = [
        f"ulimit -{flag} {_allowed(value, which) // unit}" for flag, unit, value, which in wanted if value
    ]
    return " && ".join(["ulimit -c 0", *kept, words])


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
