"""The body of a clone request: sent whole or in chunks, packed or not, never more than the limit."""

import zlib
from collections.abc import Iterable, Iterator
from tempfile import SpooledTemporaryFile
from typing import Any

from django.http import HttpRequest

from mirroring.web.refusal import Refused

CHUNK = 64 * 1024
LIMIT = 64 * 1024 * 1024
"""Bytes after unpacking. A client that asks for 100,000 refs and has 100,000 commits sends 10 MB."""

IN_MEMORY = 1024 * 1024
"""Bytes of a body beyond which it is kept on disk."""

GZIP = 31
"""The window size that makes zlib expect a gzip header."""


def receive(request: HttpRequest) -> Iterator[bytes]:
    """Take in the whole body, then return its pieces; raise Refused where it cannot be read or is too large.

    So a slow or lying client holds no git process.
    """
    kept = _kept(_pieces(request))
    next(kept)
    return kept


def _kept(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield nothing once all is in, then what is in."""
    with SpooledTemporaryFile(max_size=IN_MEMORY) as body:
        for piece in pieces:
            body.write(piece)
        body.seek(0)
        yield b""
        yield from iter(lambda: body.read(CHUNK), b"")


def _pieces(request: HttpRequest) -> Iterator[bytes]:
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in {"gzip", "x-gzip"}:
        return _limited(_gunzip(_raw(request)))
    if encoding == "identity":
        return _limited(_raw(request))
    raise Refused(415, "This content encoding is not understood: send the request plain or as gzip")


def _raw(request: HttpRequest) -> Iterator[bytes]:
    # Django reads as many bytes as Content-Length says, which is none for a chunked body; the server under it
    # knows where such a body ends and says so.
    environ: dict[str, Any] = getattr(request, "environ", {})
    stream = environ["wsgi.input"] if environ.get("wsgi.input_terminated") else request
    try:
        while chunk := stream.read(CHUNK):
            yield chunk
    except OSError as error:
        raise Refused(400, "The request ended before it was complete: try again") from error


def _gunzip(packed: Iterable[bytes]) -> Iterator[bytes]:
    unpack = zlib.decompressobj(GZIP)
    try:
        for chunk in packed:
            rest = chunk
            while rest:
                # Bounded, since a few packed bytes can stand for any number.
                if piece := unpack.decompress(rest, CHUNK):
                    yield piece
                rest = unpack.unconsumed_tail
        if not unpack.eof:
            raise Refused(400, "The gzip body ended before it was complete: try again")
    except zlib.error as error:
        raise Refused(400, "The body is not valid gzip") from error


def _limited(unpacked: Iterable[bytes]) -> Iterator[bytes]:
    seen = 0
    for piece in unpacked:
        seen += len(piece)
        if seen > LIMIT:
            raise Refused(413, f"The request is larger than {LIMIT} bytes: clone afresh, or with --depth")
        yield piece
