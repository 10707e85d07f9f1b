"""Finding out, before a process is started, which address of an upstream answers: git has no deadline for that."""

import errno
import os
import select
import socket
import time
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from mirroring.rules.hosts import Signal
from mirroring.rules.outcomes import Outcome
from mirroring.upstream.access.contact import Contact
from mirroring.upstream.errors import GitError
from mirroring.upstream.git.process import StopHandle

CONNECT_SECONDS = 10.0
TOTAL = timedelta(seconds=30)
"""For all addresses together: how many there are, the upstream's DNS decides."""

LOOK_SECONDS = 0.5
"""How often whoever waits looks whether it was stopped."""


def reachable(contact: Contact, *, left: timedelta, stop: StopHandle) -> str:
    """Return the first address that takes a connection, or that of the proxy. Raise GitError if none does in time.

    `left`: of the time for the whole; `stop` is heeded while an address is waited for, too.
    """
    until = time.monotonic() + min(left, TOTAL).total_seconds()
    why = "it has no address"
    try:
        places = _places(contact)
    except OSError as error:
        places, why = [], _said(error)
    for at, (family, place) in enumerate(places):
        # Each has its share of the time, so that dead addresses leave some for those behind them.
        share = (until - time.monotonic()) / (len(places) - at)
        try:
            _connect(family, place, seconds=min(CONNECT_SECONDS, share), stop=stop)
        except OSError as error:
            why = _said(error)
        else:
            return str(place[0])
    where = f"the proxy of {contact.url.host}" if contact.proxy else contact.url.host
    if left < TOTAL and time.monotonic() >= until:
        # It may be our time that was too short: the host is not blamed.
        raise GitError(Outcome.HUNG, f"timed out: {where} took no connection within the fetch timeout")
    signal = Signal.NONE if contact.proxy else Signal.UNREACHABLE
    raise GitError(Outcome.TRANSIENT, f"could not connect to {where}: {why}", signal=signal)


def _places(contact: Contact) -> list[tuple[socket.AddressFamily, Any]]:
    """Return what sockets connect to. Only the name of a proxy, which is the operator's, is asked of DNS."""
    proxy = urlsplit(contact.proxy or "")
    port = (proxy.port or 80) if contact.proxy else contact.url.port
    hosts = [proxy.hostname or ""] if contact.proxy else contact.addresses
    found = [socket.getaddrinfo(host, port, type=socket.SOCK_STREAM) for host in hosts]
    return [(family, place) for each in found for family, _, _, _, place in each]


def _connect(family: socket.AddressFamily, place: Any, *, seconds: float, stop: StopHandle) -> None:
    """Connect and hang up. Raise OSError, TimeoutError after so many seconds, and GitError once it is stopped."""
    until = time.monotonic() + seconds
    with socket.socket(family, socket.SOCK_STREAM) as trying:
        trying.settimeout(0)
        number = trying.connect_ex(place)
        done = select.poll()
        done.register(trying, select.POLLOUT)
        while number == errno.EINPROGRESS:
            stop.check()
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"connection timed out after {seconds:.0f} s")
            if done.poll(1000 * min(left, LOOK_SECONDS)):
                number = trying.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        raise OSError(number, os.strerror(number))


def _said(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
