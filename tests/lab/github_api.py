"""GitHub's API as far as an app asks it for installation tokens: it checks the signature of each request for real."""

import json
import threading
from base64 import urlsafe_b64decode
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

LONGEST = timedelta(minutes=10)


def new_key() -> str:
    """Return a private key as GitHub makes them: RSA, PEM, PKCS 1."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


class GitHubAPI:
    """The API of one app with one installation. `answer` replaces the next answers: (status, headers, body)."""

    def __init__(
        self, *, private_key: str, app_id: str = "12", installation: str = "34", port: int = 0
    ) -> None:
        key = serialization.load_pem_private_key(private_key.encode(), password=None)
        self.public_key: Any = key.public_key()
        self.app_id, self.installation = app_id, installation
        self.life = timedelta(hours=1)
        self.issued: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.problems: list[str] = []
        self.names: Any = lambda number: f"ghs_{number:036d}"
        self.answer: tuple[int, dict[str, str], bytes] | None = None
        self._http = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
        self._http.api = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/api/v3"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.1,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def check(self, path: str, authorization: str, body: bytes) -> str:
        """Return what is wrong with a request; "" if nothing is."""
        if path != f"/api/v3/app/installations/{self.installation}/access_tokens":
            return "no such installation"
        scheme, _, token = authorization.partition(" ")
        try:
            head, claims, signature = token.split(".")
            signed = f"{head}.{claims}".encode()
            self.public_key.verify(_decoded(signature), signed, padding.PKCS1v15(), hashes.SHA256())
            header, said = json.loads(_decoded(head)), json.loads(_decoded(claims))
        except (ValueError, InvalidSignature):
            return "A JSON web token could not be decoded"
        now = datetime.now(tz=UTC).timestamp()
        if scheme != "Bearer" or header != {"alg": "RS256", "typ": "JWT"}:
            return "not signed as it must be"
        if str(said["iss"]) != self.app_id:
            return "another app"
        if not said["iat"] <= now < said["exp"] <= now + LONGEST.total_seconds():
            return "'Expiration time' claim ('exp') is too far in the future, or over"
        return "" if json.loads(body) == {"permissions": {"contents": "read"}} else "asks for too much"


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        api: GitHubAPI = self.server.api  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        api.asked.append({"path": self.path, "authorization": self.headers.get("Authorization", "")})
        if api.answer:
            return self._send(*api.answer)
        if problem := api.check(self.path, self.headers.get("Authorization", ""), body):
            api.problems.append(problem)
            return self._send(401, {}, json.dumps({"message": problem}).encode())
        api.issued.append(api.names(len(api.issued) + 1))
        ends = (datetime.now(tz=UTC) + api.life).strftime("%Y-%m-%dT%H:%M:%SZ")
        return self._send(201, {}, json.dumps({"token": api.issued[-1], "expires_at": ends}).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """The lists of the API say it all."""

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
