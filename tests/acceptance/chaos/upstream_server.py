"""The lab's server, but a poll that finds nothing new costs no process: it has to keep hundreds of mirrors busy.

    python -m tests.acceptance.chaos.upstream_server --repositories FILE --log FILE

Refs are read from `packed-refs` alone, one read for one answer, so that no answer mixes two states.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.lab import fast_import, git_backend
from tests.lab.http_server import GitServer, _Handler

FLUSH, DELIMITER = b"0000", b"0001"
CAPABILITIES = ("version 2", "agent=lab", "ls-refs=unborn", "fetch=shallow", "object-format=sha1")


class QuickHandler(_Handler):
    """Answers by itself where nothing is to be sent but refs."""

    def _answer(self, request: git_backend.Request, behaviour: str, *, number: int, delay: float) -> None:
        if behaviour or request.headers.get("git-protocol") != "version=2":
            super()._answer(request, behaviour, number=number, delay=delay)
            return
        kind = git_backend.kind_of(request)
        if kind == "refs":
            self._send(advertisement(), number=number, what="advertisement")
        elif kind == "ls-refs":
            self._send(ref_list(request.repository, unpacked(request)), number=number, what="result")
        elif kind == "fetch":
            self._send(upload_pack(request), number=number, what="result")
        else:
            super()._answer(request, behaviour, number=number, delay=delay)

    def _send(self, body: bytes, *, number: int, what: str) -> None:
        self.server.lab.log.end(number, status=200, sent=len(body))
        self.send_response(200)
        self.send_header("Content-Type", f"application/x-git-upload-pack-{what}")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class QuickServer(GitServer):
    """The lab's server with the quick handler."""

    def __init__(self, *, log: Path | None = None) -> None:
        super().__init__(log=log)
        self._http.RequestHandlerClass = QuickHandler


def line(text: str) -> bytes:
    """Return one pkt-line."""
    data = f"{text}\n".encode()
    return b"%04x%b" % (len(data) + 4, data)


def advertisement() -> bytes:
    """Return what the server can do, in protocol version 2."""
    return line("# service=git-upload-pack") + FLUSH + b"".join(map(line, CAPABILITIES)) + FLUSH


def unpacked(request: git_backend.Request) -> bytes:
    """Return the body of a request as it was before it was compressed."""
    return (
        gzip.decompress(request.body) if request.headers.get("content-encoding") == "gzip" else request.body
    )


def ref_list(repository: Path, question: bytes) -> bytes:
    """Answer `ls-refs`."""
    words = [word.rstrip(b"\n").decode() for word in packets(question)]
    prefixes = tuple(word.partition(" ")[2] for word in words if word.startswith("ref-prefix "))
    refs = dict(
        reversed(entry.split(" ", 1))
        for entry in (repository / "packed-refs").read_text().splitlines()
        if entry[0] not in "#^"
    )
    target = (repository / "HEAD").read_text().strip().removeprefix("ref: ")
    lines = []
    if target in refs and "HEAD".startswith(prefixes or ("",)):
        lines.append(f"{refs[target]} HEAD" + (f" symref-target:{target}" if "symrefs" in words else ""))
    lines += [f"{oid} {name}" for name, oid in sorted(refs.items()) if name.startswith(prefixes or ("",))]
    return b"".join(map(line, lines)) + FLUSH


def packets(data: bytes) -> list[bytes]:
    """Return the pkt-lines of a message, without the special ones."""
    found, at = [], 0
    while at + 4 <= len(data):
        length = int(data[at : at + 4], 16)
        if length >= 4:
            found.append(data[at + 4 : at + length])
        at += max(4, length)
    return found


def upload_pack(request: git_backend.Request) -> bytes:
    """Answer `fetch`."""
    done = subprocess.run(
        ["git", "upload-pack", "--stateless-rpc", str(request.repository)],
        check=False,
        input=unpacked(request),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**fast_import.ENVIRONMENT, "GIT_PROTOCOL": "version=2"},
        timeout=60,
    )
    return done.stdout


def main() -> None:
    """Serve the repositories of a JSON file until standard input ends."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--repositories", type=Path, required=True)
    parser.add_argument("--log", type=Path)
    options = parser.parse_args()
    with QuickServer(log=options.log) as server:
        server.follow(options.repositories)
        print(json.dumps({"url": server.url}), flush=True)
        while os.read(sys.stdin.fileno(), 1024):
            pass


if __name__ == "__main__":
    main()
