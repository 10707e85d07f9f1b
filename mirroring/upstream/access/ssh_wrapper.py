#!/usr/bin/env -S python3 -I -S
"""What git calls as ssh: ssh, with the configuration of this one contact and nothing of this machine's.

Git cannot be told ssh's options without a shell, and a shell would read what a URL says. Nor does git give up a server
over ssh that answers next to nothing, as it does over http: that is seen to here. Standard library only.
"""

import os
import select
import subprocess
import sys
import time

CHUNK = 1 << 16


def carry(source: int, *, bytes_a_second: float, idle: float) -> bool:
    """Copy to standard output until the source ends; say whether it did, or sent less than this for so long."""
    moment = time.monotonic
    arrived, began, slow_since = 0, moment(), moment()
    while True:
        if select.select([source], [], [], 1.0)[0]:
            chunk = os.read(source, CHUNK)
            if not chunk:
                return True
            arrived += len(chunk)
            # While git is busy with what it has, it is not the server that is slow.
            busy = _write(chunk)
            began, slow_since = began + busy, slow_since + busy
        span = moment() - began
        if span < 1.0:
            continue
        if arrived >= bytes_a_second * span:
            slow_since = moment()
        elif moment() - slow_since >= idle:
            return False
        arrived, began = 0, moment()


def _write(chunk: bytes) -> float:
    """Write all of it, and return how many seconds that took."""
    began = time.monotonic()
    while chunk:
        chunk = chunk[os.write(1, chunk) :]
    return time.monotonic() - began


def watched(command: list[str], *, bytes_a_second: float, idle: float) -> int:
    """Run ssh, end it if the server is too slow, and return its exit status."""
    source, sink = os.pipe()
    with subprocess.Popen(command, stdout=sink) as ssh:
        os.close(sink)
        try:
            kept_pace = carry(source, bytes_a_second=bytes_a_second, idle=idle)
        except BrokenPipeError:
            kept_pace = True  # Git has what it wants.
        os.close(source)
        if not kept_pace:
            ssh.kill()
            sys.exit(f"operation too slow: the server sent next to nothing for {idle:.0f} s")
        return ssh.wait()


if __name__ == "__main__":
    words = ["ssh", "-F", os.environ["MIRRORING_SSH_CONFIG"], *sys.argv[1:]]
    if "MIRRORING_SSH_PACE" not in os.environ:
        os.execvp("ssh", words)  # noqa: S606  (that is the point)
    least, patience = map(float, os.environ["MIRRORING_SSH_PACE"].split())
    sys.exit(watched(words, bytes_a_second=least, idle=patience))
