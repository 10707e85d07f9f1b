"""A repository on an HTTP server, and the requests that are sent for it."""

from dataclasses import dataclass, field
from functools import lru_cache

from mirroring.upstream.client import protocol
from mirroring.upstream.client.dialing import Origin, basic, proxy_authorization

USER_AGENT = "git/2.45 (mirroring)"
"""Some servers answer only clients that call themselves git."""


@dataclass(frozen=True)
class Target:
    """One repository and how it is reached. Equal targets may share one answer."""

    origin: Origin
    path: str
    authorization: bytes = field(default=b"", repr=False)

    def request(self, *, ending: str, body: bytes = b"", accept: str = "") -> bytes:
        """Return a request for what lies below the repository; with a body it is a POST."""
        before, after, end = _around(self.origin, ending, body, accept)
        secret = b"Authorization: %b\r\n" % self.authorization if self.authorization else b""
        return b"%b%b%b%b%b" % (before, self.path.encode(), after, secret, end)


@lru_cache(maxsize=1024)
def _around(origin: Origin, ending: str, body: bytes, accept: str) -> tuple[bytes, bytes, bytes]:
    """Return what stands in a request before the path, between that and the secret, and after it."""
    http_proxy = origin.proxy if origin.scheme == "http" else None
    place = f"{origin.scheme}://{origin.authority}" if http_proxy else ""
    lines = [
        f"{ending} HTTP/1.1",
        f"Host: {origin.authority}",
        f"User-Agent: {USER_AGENT}",
        "Accept-Encoding: gzip",
        "Git-Protocol: version=2",
        f"Accept: {accept or '*/*'}",
    ]
    if not body:
        lines.append("Pragma: no-cache")  # As git: a proxy's copy would be the same whatever is new.
    else:
        lines += [f"Content-Type: application/x-{protocol.SERVICE}-request", f"Content-Length: {len(body)}"]
    before = f"{'POST' if body else 'GET'} {place}".encode()
    after = "".join(f"{line}\r\n" for line in lines).encode()
    return before, after, b"%b\r\n%b" % (proxy_authorization(http_proxy), body)


def authorization(username: str, password: str) -> bytes:
    """Return the value of the header that carries a user name and password."""
    return basic(username, password)
