"""Finding out, before a process is started, which address of an upstream answers: git has no deadline for that."""

import socket
from urllib.parse import urlsplit

from mirroring.rules.hosts import Signal
from mirroring.rules.outcomes import Outcome
from mirroring.upstream.access.contact import Contact
from mirroring.upstream.errors import GitError

CONNECT_SECONDS = 10.0


def reachable(contact: Contact) -> str:
    """Return the first address that takes a connection, or that of the proxy. Raise GitError if none does in time."""
    places = [(address, contact.url.port) for address in contact.addresses]
    if contact.proxy:
        proxy = urlsplit(contact.proxy)
        places = [(proxy.hostname or "", proxy.port or 80)]
    why = "it has no address"
    for place in places:
        try:
            with socket.create_connection(place, CONNECT_SECONDS):
                return place[0]
        except TimeoutError:
            why = f"connection timed out after {CONNECT_SECONDS:.0f} s"
        except OSError as error:
            why = (error.strerror or str(error)).lower()
    where = f"the proxy of {contact.url.host}" if contact.proxy else contact.url.host
    signal = Signal.NONE if contact.proxy else Signal.UNREACHABLE
    raise GitError(Outcome.TRANSIENT, f"could not connect to {where}: {why}", signal=signal)
