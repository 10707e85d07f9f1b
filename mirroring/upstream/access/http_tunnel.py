"""What ssh calls to go through an HTTP proxy: asks it for a tunnel, then carries bytes both ways.

Arguments: host and port of the proxy, host and port of the server. Standard library only.
"""

import os
import select
import socket
import sys

CONNECT_SECONDS = 10.0
MAX_HEAD = 16 * 1024


def tunnel(proxy: tuple[str, int], server: str) -> socket.socket:
    """Return a connection that the proxy has tied to `server` (host:port). Raise OSError."""
    connection = socket.create_connection(proxy, CONNECT_SECONDS)
    connection.sendall(f"CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        # By the byte: what comes after the head belongs to ssh.
        byte = connection.recv(1)
        head += byte
        if not byte or len(head) > MAX_HEAD:
            raise OSError("the proxy did not answer as one")
    if head.split(b" ", 2)[1:2] != [b"200"]:
        raise OSError("the proxy refuses the tunnel")
    connection.settimeout(None)
    return connection


def carry(connection: socket.socket) -> None:
    """Carry bytes until the server ends; the end of our input is passed on."""
    sources = [0, connection.fileno()]
    while True:
        for ready in select.select(sources, [], [])[0]:
            chunk = os.read(ready, 1 << 16)
            if ready == 0 and not chunk:
                connection.shutdown(socket.SHUT_WR)
                sources.remove(0)
            elif ready == 0:
                connection.sendall(chunk)
            elif not chunk:
                return
            else:
                _write(chunk)


def _write(chunk: bytes) -> None:
    while chunk:
        chunk = chunk[os.write(1, chunk) :]


if __name__ == "__main__":
    try:
        carry(tunnel((sys.argv[1], int(sys.argv[2])), f"{sys.argv[3]}:{sys.argv[4]}"))
    except OSError as error:
        sys.exit(f"{sys.argv[1]}:{sys.argv[2]}: {error}")
