"""A smart-HTTP server for bare repositories that can be told to misbehave, one repository at a time.

Behaviours: "" (answers well), "auth" (asks for the password "lab" of the user "lab"), "auth:USER:PASSWORD" (asks for
these), "gone" (404), "hang" (accepts and never answers), "drip" (a byte each tenth of a second), "slow:SECONDS" (waits
before each answer), "slow:SECONDS+BEHAVIOUR" (likewise, and then behaves so), "status:CODE" (answers with this code),
"status:CODE:WHEN" (likewise, with `Retry-After: WHEN`),
"says:TEXT" (403 with this text), "moved:CODE:URL" (redirects what is asked of the repository to the same below URL),
"redirect:CODE:LOCATION" (redirects to exactly there).

With `certificate` (a PEM file with its key) it speaks https; with `client_ca` it wants a certificate of its clients.

In a test:      with GitServer(log=path) as server: url = server.add("name", path); server.behave("name", "gone")
As a process:   python -m tests.lab.http_server --repositories FILE [--log FILE] [--delay SECONDS]
FILE is a JSON object {name: {"path": ..., "behaviour": ...}}, read again when it changes. The process prints
one line {"url": ...} and ends when its standard input does.
"""

import argparse
import json
import os
import re
import socket
import ssl
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

from tests.lab import git_backend
from tests.lab.request_log import RequestLog, wait_while_connected

FOREVER = 86_400.0
SERVICES = ("/info/refs", "/git-upload-pack")


def basic(pair: str) -> str:
    """Return the header that shows USER:PASSWORD to a server."""
    return "Basic " + b64encode(pair.encode()).decode()


class GitServer:
    """The server, its repositories and what each of them does to clients."""

    def __init__(
        self,
        *,
        log: Path | None = None,
        delay: float = 0.0,
        port: int = 0,
        certificate: Path | None = None,
        client_ca: Path | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.delay = delay
        self.log = RequestLog(log)
        self._repositories: dict[str, tuple[Path, str]] = {}
        self._stopping = threading.Event()
        self._http = _Http((host, port), _Handler)
        self._http.lab = self
        if certificate:
            self._http.tls = _tls(certificate, client_ca)
        self.url = f"http{'s' if certificate else ''}://{host}:{self._http.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.1,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping.set()
        self._http.shutdown()
        self._http.server_close()
        self._http.hang_up()
        self.log.close()

    def add(self, name: str, path: Path, *, behaviour: str = "") -> str:
        """Serve a repository and return its URL."""
        self._repositories[name] = (path, behaviour)
        return self.url_of(name)

    def behave(self, name: str, behaviour: str) -> None:
        """Change what a repository does to its clients, from the next request on."""
        self._repositories[name] = (self._repositories[name][0], behaviour)

    def url_of(self, name: str) -> str:
        """Return the URL of a repository, also of one that is not served."""
        return f"{self.url}/{quote(name)}.git"

    def find(self, name: str) -> tuple[Path, str] | None:
        """Return path and behaviour of a repository."""
        return self._repositories.get(name)

    def stopping(self) -> bool:
        """Tell whether the server is about to end."""
        return self._stopping.is_set()

    def follow(self, file: Path) -> None:
        """Serve what a JSON file says, and look at it again ten times a second."""
        self._load(file)
        threading.Thread(target=self._watch, args=(file,), daemon=True).start()

    def _load(self, file: Path) -> None:
        entries = json.loads(file.read_text(encoding="utf-8"))
        self._repositories = {name: (Path(e["path"]), e.get("behaviour", "")) for name, e in entries.items()}

    def _watch(self, file: Path) -> None:
        seen = file.stat().st_mtime_ns
        while not self._stopping.wait(0.1):
            if (now := file.stat().st_mtime_ns) != seen:
                seen = now
                self._load(file)


def _tls(certificate: Path, client_ca: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client_ca)
    context.load_cert_chain(certificate)
    context.verify_mode = ssl.CERT_REQUIRED if client_ca else ssl.CERT_NONE
    return context


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    lab: GitServer

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Keep the connection in mind, for clients keep it open."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection at its end."""
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End the connections that clients still keep open."""
        for request in list(self._open):
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    tls: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve one connection. Its handshake is done here, in its own thread: one client cannot hold up another."""
        if self.tls is None:
            super().finish_request(request, client_address)
            return
        with self.tls.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent when a client goes away; a real fault goes to standard error."""
        if not isinstance(sys.exception(), ConnectionError | ssl.SSLError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http
    disable_nagle_algorithm = True
    # The head goes out with the first piece, as from any server: one packet, one wake-up.
    wbufsize = git_backend.CHUNK

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:
        """The request log says it all."""

    def _serve(self) -> None:
        lab = self.server.lab
        body = git_backend.read_body(self.headers, self.rfile)
        url = urlsplit(self.path)
        path = unquote(url.path)
        service_path = next((service for service in SERVICES if path.endswith(service)), "")
        name = path.removesuffix(service_path).strip("/").removesuffix(".git")
        found = lab.find(name) if service_path else None
        repository, behaviour = found or (Path("/nonexistent"), "gone")
        headers = {key.lower(): value for key, value in self.headers.items()}
        request = git_backend.Request(self.command, repository, service_path, url.query, headers, body)
        kind = git_backend.kind_of(request)
        number = lab.log.start(self.connection, repository=name, kind=kind, behaviour=behaviour)
        try:
            self._answer(request, behaviour, number=number, delay=lab.delay if kind == "refs" else 0.0)
        except ConnectionError:
            self.close_connection = True
        finally:
            lab.log.end(number, status=0)

    def _answer(self, request: git_backend.Request, behaviour: str, *, number: int, delay: float) -> None:
        word, _, argument = behaviour.partition(":")
        if word == "slow":
            argument, _, after = argument.partition("+")
            delay += float(argument or 1)
            word, _, argument = after.partition(":")
        wait = FOREVER if word == "hang" else 0.0
        if not wait_while_connected(self.connection, seconds=wait + delay, stopped=self.server.lab.stopping):
            self.close_connection = True
        elif not self._refused(word, argument, number):
            with git_backend.answer(request) as answer:
                self._stream(answer, number=number, drip=word == "drip")

    def _refused(self, word: str, argument: str, number: int) -> bool:
        """Refuse or redirect, if the behaviour is one of these."""
        code, _, location = argument.partition(":")
        match word:
            case "auth" if self.headers.get("Authorization") != basic(argument or "lab:lab"):
                self._refuse(401, number, ("WWW-Authenticate", 'Basic realm="lab"'))
            case "says":
                self._refuse(403, number, ("Content-Type", "text/plain"), body=argument.encode())
            case "gone":
                self._refuse(404, number)
            case "moved":
                below = re.search("(/info/refs|/git-upload-pack).*", self.path)
                self._refuse(int(code), number, ("Location", location + (below[0] if below else "")))
            case "redirect":
                self._refuse(int(code), number, ("Location", location))
            case "status":
                self._refuse(int(code), number, *([("Retry-After", location)] if location else []))
            case _ if "git-receive-pack" in self.path:
                self._refuse(403, number)
            case _:
                return False
        return True

    def _refuse(self, status: int, number: int, *headers: tuple[str, str], body: bytes = b"") -> None:
        self.server.lab.log.end(number, status=status)
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, answer: git_backend.Answer, *, number: int, drip: bool) -> None:
        self.send_response(answer.status)
        for name, value in (*answer.headers, ("Transfer-Encoding", "chunked")):
            self.send_header(name, value)
        self.end_headers()
        sent = 0
        parts = git_backend.pieces(answer.body)
        for piece in self._drip(parts) if drip else parts:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()
            sent += len(piece)
        self.server.lab.log.end(number, status=answer.status, sent=sent)
        self.wfile.write(b"0\r\n\r\n")

    def _drip(self, pieces: Iterable[bytes]) -> Iterable[bytes]:
        for piece in pieces:
            for position in range(len(piece)):
                if self.server.lab.stopping():
                    return
                time.sleep(0.1)
                yield piece[position : position + 1]


def main() -> None:
    """Serve the repositories of a JSON file until standard input ends."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--repositories", type=Path, required=True)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--host", default="127.0.0.1", help="the loopback address to listen on")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each handshake is answered")
    options = parser.parse_args()
    with GitServer(log=options.log, delay=options.delay, host=options.host) as server:
        server.follow(options.repositories)
        print(json.dumps({"url": server.url}), flush=True)
        while os.read(sys.stdin.fileno(), 1024):
            pass


if __name__ == "__main__":
    main()
