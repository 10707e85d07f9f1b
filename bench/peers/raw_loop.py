"""The floor of a check in Python: one kept connection, the bytes of the request ready, the answer hashed."""

import hashlib
import socket


class RawLoop:
    """Sends a request for each path and returns the digests of the answers."""

    def __init__(self, host: str, port: int, body: bytes) -> None:
        self._socket = socket.create_connection((host, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._tail = b"Host: %b\r\nGit-Protocol: version=2\r\nContent-Length: %d\r\n\r\n%b" % (
            host.encode(),
            len(body),
            body,
        )

    def ask(self, path: str) -> bytes:
        """Return the digest of the answer for one repository."""
        self._socket.sendall(b"POST %b/git-upload-pack HTTP/1.1\r\n%b" % (path.encode(), self._tail))
        data = self._socket.recv(1 << 18)
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._socket.recv(1 << 18)
        length = int(data[:end].partition(b"Content-Length: ")[2].split(b"\r\n", 1)[0])
        parts, got = [data[end + 4 :]], len(data) - end - 4
        while got < length:
            parts.append(self._socket.recv(1 << 18))
            got += len(parts[-1])
        return hashlib.sha256(b"".join(parts)).digest()
