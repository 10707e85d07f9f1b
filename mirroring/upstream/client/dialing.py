"""Opening a connection to an upstream: pinned addresses in turn, the operator's proxy, TLS with its sessions."""

import asyncio
import ssl
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mirroring.upstream.client.http1 import Connection
from mirroring.upstream.client.protocol import BadAnswer
from mirroring.upstream.policy.urls import DEFAULT_PORTS

CONNECT_SECONDS = 10.0
# A name that nobody answers for takes ten seconds: a thread for each question that may be under way, begun as needed.
_DIALLING = ThreadPoolExecutor(200, thread_name_prefix="dial")


class Unsupported(Exception):
    """This way of asking cannot be used here; git can."""


@dataclass(frozen=True)
class Origin:
    """The other end of connections that may be shared: who it is, and everything that decides how it is reached."""

    scheme: str
    host: str
    port: int
    proxy: str | None = None
    ca_bundle: Path | None = None
    client_certificate: Path | None = None

    @property
    def authority(self) -> str:
        """Return host and port as a request names them."""
        return self.host if self.port == DEFAULT_PORTS.get(self.scheme) else f"{self.host}:{self.port}"

    @property
    def server_name(self) -> str:
        """Return the name that a certificate must be for."""
        return self.host.strip("[]")


Dial = Callable[[], Sequence[str]]
"""Returns the addresses to which a connection may go, checked; it may block and is called in a thread."""


class _Resuming(ssl.SSLContext):
    """A context that offers each server the session of the last connection to it: a handshake without certificates."""

    sessions: dict[str, ssl.SSLSession]

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Wrap as the base class does, with the session. The event loop calls this."""
        name = kwargs.get("server_hostname")
        if not kwargs.get("session") and name in self.sessions:
            kwargs["session"] = self.sessions[name]
        return super().wrap_bio(*args, **kwargs)


@lru_cache(maxsize=64)
def _context(
    ca_bundle: Path | None, client_certificate: Path | None, _changed: tuple[float, ...]
) -> _Resuming:
    context = _Resuming(ssl.PROTOCOL_TLS_CLIENT)  # Verifies chain and name.
    context.sessions = {}
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_bundle is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(ca_bundle)
    if client_certificate is not None:
        context.load_cert_chain(client_certificate)
    return context


def context_of(origin: Origin) -> _Resuming:
    """Return the TLS context for an origin. Reading the certificates takes 20 ms, so it is kept while they stay."""
    files = [file for file in (origin.ca_bundle, origin.client_certificate) if file is not None]
    return _context(
        origin.ca_bundle, origin.client_certificate, tuple(file.stat().st_mtime for file in files)
    )


async def connect(origin: Origin, dial: Dial) -> Connection:
    """Open a connection. Raise OSError, BadAnswer or Unsupported, and whatever `dial` raises."""
    loop = asyncio.get_running_loop()
    addresses = await loop.run_in_executor(_DIALLING, dial)  # Behind a proxy too: a name may be refused.
    if origin.proxy is not None:
        return await _through_proxy(loop, origin)
    return await _to_one_of(loop, origin, addresses)


def remember_session(connection: Connection, origin: Origin) -> None:
    """Keep the TLS session of a connection that has answered; servers send it after the handshake.

    It is kept with the context that it belongs to: another one, made of files that changed meanwhile, cannot use it.
    """
    if origin.scheme == "https" and connection.transport is not None:
        spoken: ssl.SSLObject = connection.transport.get_extra_info("ssl_object")
        if spoken.session is not None and isinstance(spoken.context, _Resuming):
            spoken.context.sessions[origin.server_name] = spoken.session


async def _to_one_of(loop: asyncio.AbstractEventLoop, origin: Origin, addresses: Sequence[str]) -> Connection:
    """Connect to the first address that answers."""
    tls: dict[str, Any] = {}
    if origin.scheme == "https":
        tls = {"ssl": context_of(origin), "server_hostname": origin.server_name}
    error: OSError = OSError("the host has no address")
    for address in addresses:
        try:
            return await _within(loop.create_connection(Connection, address, origin.port, **tls))
        except OSError as failed:
            error = failed
    raise error


async def _within(opening: Awaitable[tuple[Any, Connection]]) -> Connection:
    try:
        return (await asyncio.wait_for(opening, CONNECT_SECONDS))[1]
    except TimeoutError:
        raise OSError(f"no connection within {CONNECT_SECONDS:.0f} s") from None


async def _through_proxy(loop: asyncio.AbstractEventLoop, origin: Origin) -> Connection:
    """Connect to the operator's proxy, and for https through it by a tunnel. The proxy finds the address."""
    proxy = urlsplit(origin.proxy or "")
    if proxy.scheme != "http" or proxy.hostname is None:
        raise Unsupported("the proxy is not an http:// one")
    opening = loop.create_connection(Connection, proxy.hostname, proxy.port or 80)
    connection = await _within(opening)
    if origin.scheme == "http":
        return connection
    name = f"{origin.host}:{origin.port}".encode()
    request = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (name, name, proxy_authorization(origin.proxy))
    if not await asyncio.wait_for(connection.tunnel(request), CONNECT_SECONDS):
        connection.close()
        raise BadAnswer("the proxy refuses the tunnel")
    return await _secured(loop, connection, origin)


async def _secured(loop: asyncio.AbstractEventLoop, tunnel: Connection, origin: Origin) -> Connection:
    assert tunnel.transport is not None  # noqa: S101  (a tunnel has answered)
    inner = Connection()
    starting = loop.start_tls(
        tunnel.transport,
        inner,
        context_of(origin),
        server_hostname=origin.server_name,
        ssl_handshake_timeout=CONNECT_SECONDS,
    )
    inner.transport = await starting
    return inner


def proxy_authorization(proxy: str | None) -> bytes:
    """Return the header that carries the user name and password of a proxy's URL; empty if it has none."""
    parts = urlsplit(proxy or "")
    if parts.username is None:
        return b""
    return b"Proxy-Authorization: %b\r\n" % basic(unquote(parts.username), unquote(parts.password or ""))


def basic(username: str, password: str) -> bytes:
    """Return user name and password as HTTP's basic authentication writes them."""
    return b"Basic " + b64encode(f"{username}:{password}".encode())
