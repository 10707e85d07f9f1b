"""An HTTP proxy: CONNECT and absolute URLs, with its own idea of where names lead and a list of what was asked.

with Proxy({"git.test": "127.0.0.1"}) as proxy: ... proxy.url, proxy.asked
"""

import http.client
import select
import socket
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit


class Proxy:
    """A proxy on a free loopback port. `names` are the only servers it knows; `asked` is "METHOD host:port"."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = dict(names)
        self.asked: list[str] = []
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.proxy = self
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._http.shutdown()
        self._http.server_close()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    proxy: Proxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http

    def do_CONNECT(self) -> None:
        """Tie the client to the server."""
        host, _, port = self.path.rpartition(":")
        self.server.proxy.asked.append(f"CONNECT {self.path}")
        address = self.server.proxy.names.get(host.strip("[]"))
        self.close_connection = True
        if address is None:
            self.send_error(502)
            return
        with socket.create_connection((address, int(port))) as server:
            self.send_response(200)
            self.end_headers()
            self._carry(server)

    def _carry(self, server: socket.socket) -> None:
        ends = {self.connection: server, server: self.connection}
        while True:
            for ready in select.select(list(ends), [], [])[0]:
                chunk = ready.recv(1 << 16)
                if not chunk:
                    return
                ends[ready].sendall(chunk)

    def _forward(self) -> None:
        url = urlsplit(self.path)
        self.server.proxy.asked.append(f"{self.command} {url.hostname}:{url.port}")
        address = self.server.proxy.names.get(url.hostname or "")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if address is None:
            self.send_error(502)
            return
        connection = http.client.HTTPConnection(address, url.port or 80)
        headers = {name: value for name, value in self.headers.items() if not name.startswith("Proxy-")}
        connection.request(self.command, f"{url.path}?{url.query}", body, headers)
        answer = connection.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"transfer-encoding", "content-length", "date", "server"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        connection.close()

    do_GET = do_POST = _forward

    def log_message(self, format: str, *args: Any) -> None:
        """`asked` says it all."""
