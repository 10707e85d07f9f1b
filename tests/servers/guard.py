"""No test opens a connection that leaves this machine."""

import ipaddress
import socket
from collections.abc import Callable
from typing import Any


class LeavesTheMachine(RuntimeError):
    """A test tried to reach another machine."""


def check(family: int, address: Any) -> None:
    """Refuse every address but unix sockets and loopback."""
    if family not in (socket.AF_INET, socket.AF_INET6):
        return
    host = str(address[0])
    if host == "localhost":
        return
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise LeavesTheMachine(f"A test may connect to loopback only, not to {host}.")


def install() -> None:
    """Put the check before every connection that Python code of this process opens."""
    for name in ("connect", "connect_ex"):
        setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))


def _guarded(original: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(self: socket.socket, address: Any) -> Any:
        check(self.family, address)
        return original(self, address)

    return guarded
