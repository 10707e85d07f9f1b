"""Starting processes that do not outlive us, however we end."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

# The kernel ends such a process with the thread that started it: so one thread, which lives as long as we do.
_STARTER = ThreadPoolExecutor(1)


def tied(*command: object) -> list[str]:
    """Return a command that the kernel kills with us."""
    setpriv = shutil.which("setpriv")
    words = [str(word) for word in command]
    return [setpriv, "--pdeathsig", "KILL", "--", *words] if setpriv else words


def spawn(command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
    """Start a process."""
    return _STARTER.submit(lambda: subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)).result()
