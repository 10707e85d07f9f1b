"""A double of Slack: it signs requests as Slack does, and takes what Slack's SDK sends, in its wire format."""

import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
TOKEN = "xoxb-test-token"


@dataclass
class Double:
    """What reached Slack."""

    url: str = ""
    posted: list[dict[str, str]] = field(default_factory=list)
    late: list[dict[str, str]] = field(default_factory=list)
    refuse: str = ""

    @property
    def api(self) -> str:
        return f"{self.url}/api/"

    @property
    def response_url(self) -> str:
        return f"{self.url}/commands/T1/2/3"

    def wait_late(self, seconds: float = 15) -> dict[str, str]:
        deadline = time.monotonic() + seconds
        while not self.late:
            if time.monotonic() > deadline:
                raise AssertionError("no late answer came")
            time.sleep(0.02)
        return self.late[-1]


def form(text: str, *, user: str = "U1", channel: str = "CPROD", response_url: str = "") -> bytes:
    """Return the body of a slash command."""
    fields = {
        "token": "gIkuvaNzQIHg97ATvDxqgjtO",
        "team_id": "T0001",
        "team_domain": "example",
        "channel_id": channel,
        "channel_name": "somewhere",
        "user_id": user,
        "user_name": "ada",
        "command": "/chatops",
        "text": text,
        "response_url": response_url,
        "trigger_id": f"13345224609.738474920.{secrets.token_hex(16)}",  # Slack's are all different, too.
        "api_app_id": "A123456",
    }
    return urlencode(fields).encode()


def signed(body: bytes, *, at: float | None = None, secret: str = SECRET) -> dict[str, str]:
    """Return the headers by which Slack signs a body. Written from Slack's documentation, not with its SDK."""
    stamp = str(int(time.time() if at is None else at))
    base = b"v0:" + stamp.encode() + b":" + body
    signature = "v0=" + hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()
    return {
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": signature,
        "Content-Type": "application/x-www-form-urlencoded",
    }


@contextmanager
def serve() -> Iterator[Double]:  # noqa: C901  (the methods of its handler are counted in)
    """Run the double as long as the block lasts."""
    double = Double()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/api/chat.postMessage":
                self._answer(self._post_message(body))
            elif self.path.startswith("/commands/"):
                double.late.append(json.loads(body))
                self._answer("ok", kind="text/plain")
            else:
                self.send_error(404)

        def _post_message(self, body: bytes) -> str:
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                return json.dumps({"ok": False, "error": "invalid_auth"})
            if double.refuse:
                return json.dumps({"ok": False, "error": double.refuse})
            if self.headers["Content-Type"].startswith("application/json"):
                fields = json.loads(body)
            else:
                fields = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            double.posted.append({"channel": fields["channel"], "text": fields["text"]})
            return json.dumps({"ok": True, "channel": fields["channel"], "ts": "1503435956.000247"})

        def _answer(self, text: str, kind: str = "application/json; charset=utf-8") -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    double.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield double
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
