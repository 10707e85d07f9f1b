"""`git http-backend` as a CGI program: one request in, one answer streamed out."""

import gzip
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, cast

from tests.lab.fast_import import ENVIRONMENT

CHUNK = 64 * 1024


@dataclass(frozen=True)
class Request:
    """One HTTP request for a repository, as the CGI program needs it."""

    method: str
    repository: Path
    service_path: str  # "/info/refs" or "/git-upload-pack"
    query: str
    headers: Mapping[str, str]
    body: bytes


def read_body(headers: Mapping[str, str], source: BinaryIO) -> bytes:
    """Read the body of a request, of a known length or in chunks."""
    if headers.get("Transfer-Encoding", "").lower() != "chunked":
        return source.read(int(headers.get("Content-Length") or 0))
    parts = []
    while size := int(source.readline().split(b";")[0], 16):
        parts.append(source.read(size))
        source.readline()
    source.readline()
    return b"".join(parts)


@dataclass(frozen=True)
class Answer:
    """The head of an answer, and its body to be read piece by piece."""

    status: int
    headers: list[tuple[str, str]]
    body: BufferedReader


@contextmanager
def answer(request: Request) -> Iterator[Answer]:
    """Run the CGI program for a request; it is killed if the block is left early."""
    with os.fdopen(os.memfd_create("body"), "r+b") as body:  # On a disk it would cost as much as the answer.
        body.write(request.body)
        body.seek(0)
        process = subprocess.Popen(
            [Path(os.environ.get("GIT_EXEC_PATH") or _programs()) / "git-http-backend"],
            env=_environment(request),
            stdin=body,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield _read_head(cast(BufferedReader, process.stdout))
        finally:
            process.kill()
            process.communicate()


def kind_of(request: Request) -> str:
    """Name what a request asks for: refs (the handshake), ls-refs, fetch or other."""
    if request.method == "GET":
        return "refs" if request.service_path == "/info/refs" else "other"
    body = request.body
    if request.headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    return "ls-refs" if body[4:].startswith(b"command=ls-refs") else "fetch"


@cache
def _programs() -> str:
    """Find git's programs: `git http-backend` would be a process more, which costs as much as the answer."""
    return subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip()


def _environment(request: Request) -> dict[str, str]:
    environment = {
        **ENVIRONMENT,
        "GIT_HTTP_EXPORT_ALL": "1",
        "REQUEST_METHOD": request.method,
        "PATH_TRANSLATED": f"{request.repository}{request.service_path}",
        "QUERY_STRING": request.query,
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": request.headers.get("content-type", ""),
        "CONTENT_LENGTH": str(len(request.body)),
    }
    for header, name in (("content-encoding", "HTTP_CONTENT_ENCODING"), ("git-protocol", "GIT_PROTOCOL")):
        if header in request.headers:
            environment[name] = request.headers[header]
    return environment


def _read_head(output: BufferedReader) -> Answer:
    status, headers = 200, []
    while line := output.readline().rstrip(b"\r\n"):
        name, _, value = line.decode("latin-1").partition(":")
        if name.lower() == "status":
            status = int(value.split()[0])
        else:
            headers.append((name, value.strip()))
    return Answer(status=status if headers else 502, headers=headers, body=output)


def pieces(stream: BufferedReader) -> Iterator[bytes]:
    """Yield what comes, as soon as it comes."""
    while piece := stream.read1(CHUNK):
        yield piece
