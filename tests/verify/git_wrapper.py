"""Tell the recorder that a git process starts, then become that git process.

Started as `python -I -S git_wrapper.py SOCKET GIT ARGUMENTS...` by the launcher that
`recorder.write_launcher` makes. The connection stays open in git and in every process that git starts; the
kernel closes it when the last of them is dead, however it died. Without a recorder at SOCKET this is plain
git. It imports what Python has built in and no more: each git command of the product waits for it.
"""

import _socket
import os
import sys
import time

# A recorder that does not answer must not hold the product up for longer than this.
PATIENCE_SECONDS = 2.0
MOST_ARGUMENTS = 60
LONGEST_ARGUMENT = 300


def announce(path: str, arguments: list[str]) -> None:
    """Send one message, wait until it is written down, and leave the connection open for git to inherit."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    connection.settimeout(PATIENCE_SECONDS)
    connection.connect(path)
    cut = [argument[:LONGEST_ARGUMENT] for argument in arguments[:MOST_ARGUMENTS]]
    where = os.getcwd()  # noqa: PTH109 pathlib takes longer to import than all of this
    fields = [str(time.monotonic()), str(os.getpid()), where, os.environ.get("GIT_DIR", ""), *cut]
    connection.send("\0".join(fields).encode("utf-8", "surrogateescape"))
    connection.recv(1)
    os.set_inheritable(connection.fileno(), True)
    connection.detach()


def main() -> None:
    """Announce if possible, then exec git."""
    socket, git, *arguments = sys.argv[1:]
    try:  # noqa: SIM105 contextlib would take longer to import than all of this
        announce(socket, arguments)
    except OSError:
        pass
    os.execv(git, [git, *arguments])


main()
