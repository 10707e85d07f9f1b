"""TCP ports on this machine."""

import socket

from mirroring.stack.errors import StackError

LOOPBACK = "127.0.0.1"


def free_port(host: str = LOOPBACK) -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def require_free(port: int, *, host: str, variable: str) -> None:
    """Refuse a port that is taken, and name the variable that moves us to another one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As the servers do: a connection that still lingers from the last run is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = error.strerror or str(error)
            raise StackError(
                f"Port {port} on {host} cannot be used ({reason.lower()}): "
                f"free it, or choose another with {variable}=NUMBER."
            ) from error
