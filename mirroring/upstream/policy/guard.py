"""Which addresses may be contacted: public ones, and those that the operator allows by name or network.

Asked at every contact, for every address that the name has at that moment. The caller then connects to one of the
addresses returned and never asks the name again, so that a second answer of DNS changes nothing.
"""

import ipaddress
import re
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from mirroring.rules.outcomes import Outcome
from mirroring.upstream.errors import Blocked, GitError
from mirroring.upstream.policy.urls import UpstreamURL

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

VARIABLE = "ALLOW_PRIVATE_UPSTREAMS"
RESOLVE_SECONDS = 10.0
MOST_ADDRESSES = 8
"""That a contact may try. Large hosts name fewer, the nearest first; an answer of DNS can hold 4,000, all dead."""

_ALLOWING = "to allow it, stop the stack and start it with"

_GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")
# Beside what Python's registry knows: addresses that carry or translate to another address, and late entries.
_NEVER_PUBLIC = tuple(
    ipaddress.ip_network(each)
    for each in (
        "0.0.0.0/8",
        "100.64.0.0/10",
        "168.63.129.16/32",  # The platform of one cloud, behind a public address.
        "169.254.0.0/16",  # Link-local; here are the metadata services.
        "192.0.0.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "224.0.0.0/3",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
    )
)
_BY_NETWORK_ONLY = tuple(
    ipaddress.ip_network(each)
    for each in (
        "0.0.0.0/8",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "::/127",
        "fe80::/10",
        "fd00:ec2::254/128",
        "fd20:ce::254/128",
    )
)
"""This machine and the metadata services: whoever owns an allowed name must not be able to point it there."""

_LOCAL_NAMES = re.compile(
    r"(?:\A|\.)(?:localdomain|internal|local|lan|home\.arpa)\Z|\A(?:metadata|instance-data)\Z"
)


@dataclass(frozen=True)
class AllowList:
    """The private networks and host names that may be contacted."""

    networks: tuple[Network, ...] = ()
    names: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> "AllowList":
        """Read networks (10.0.0.0/8) and names (git.corp.example). Raise ValueError with what would be right."""
        networks, names = [], set()
        for entry in filter(None, (each.strip().lower() for each in entries)):
            try:
                networks.append(ipaddress.ip_network(entry))
            except ValueError:
                if network := _network_of(entry):
                    raise ValueError(f"{entry} has bits set behind its /: write {network}") from None
                if not re.fullmatch(r"(?=.*[a-z])[a-z0-9]([a-z0-9.-]*[a-z0-9])?", entry):
                    raise ValueError(
                        f"{entry!r} is neither a network like 10.0.0.0/8 nor a host name like git.corp.example"
                    ) from None
                names.add(entry)
        return cls(tuple(networks), frozenset(names))

    def __str__(self) -> str:
        return ",".join([*(str(network) for network in self.networks), *sorted(self.names)])

    def allows(self, address: Address, *, hostname: str) -> bool:
        """Say whether an address that is not public may be contacted under this name."""
        if _within(address, self.networks):
            return True
        return hostname in self.names and not _within(address, _BY_NETWORK_ONLY) and address not in _own()

    def line_for(self, address: Address, *, hostname: str) -> str:
        """Return the line of the environment that would allow an address."""
        by_name = not _literal(hostname) and not _within(address, _BY_NETWORK_ONLY) and address not in _own()
        entry = hostname if by_name else f"{address}/{address.max_prefixlen}"
        return f"{VARIABLE}={','.join(filter(None, [str(self), entry]))}"


def resolve(url: UpstreamURL, *, allowed: AllowList) -> tuple[str, ...]:
    """Return the addresses of the URL's host to try. Raise Blocked if any is refused, GitError if there is none."""
    literal = _literal(url.hostname)
    found = [str(literal)] if literal else _in_time(lambda: _look_up(url.hostname, url.port), url.hostname)
    return check(url, found, allowed=allowed)


def check(url: UpstreamURL, found: Sequence[str], *, allowed: AllowList) -> tuple[str, ...]:
    """Return those to try of the addresses that a look-up found. Raise Blocked if any of all is refused."""
    addresses = dict.fromkeys(_plain(ipaddress.ip_address(each)) for each in found)
    for address in addresses:
        if not is_public(address) and not allowed.allows(address, hostname=url.hostname):
            raise _blocked(url, address, allowed=allowed)
    return tuple(str(address) for address in addresses)[:MOST_ADDRESSES]


def check_literal(url: UpstreamURL, *, allowed: AllowList) -> None:
    """Refuse what no answer of DNS can mend: an address, or `localhost`. Raise Blocked."""
    if literal := _literal(url.hostname):
        check(url, [str(literal)], allowed=allowed)
    elif url.hostname.rpartition(".")[2] == "localhost":
        check(url, ["127.0.0.1"], allowed=allowed)


def check_name(url: UpstreamURL, *, allowed: AllowList) -> None:
    """Refuse addresses, and names that only a private network knows: all that can be asked before a proxy does DNS."""
    check_literal(url, allowed=allowed)
    if _LOCAL_NAMES.search(url.hostname) and url.hostname not in allowed.names:
        line = f"{VARIABLE}={','.join(filter(None, [str(allowed), url.hostname]))}"
        raise Blocked(f"{url.hostname} is a name of a private network: {_ALLOWING} {line}")


def is_public(address: Address) -> bool:
    """Say whether everybody on the Internet would reach the same server under an address."""
    address = _plain(address)
    if not address.is_global or address.is_multicast or _within(address, _NEVER_PUBLIC):
        return False
    # Of IPv6, one eighth is in use; 64:ff9b::/96 and its like, which translate to IPv4, lie outside of it.
    return (address.version == 4 or address in _GLOBAL_IPV6) and address not in _own()


def _plain(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for."""
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def _network_of(entry: str) -> Network | None:
    """Return the network that an address with a prefix length lies in."""
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None


def _literal(hostname: str) -> Address | None:
    try:
        return ipaddress.ip_address(hostname)
    except ValueError:
        return None


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _blocked(url: UpstreamURL, address: Address, *, allowed: AllowList) -> Blocked:
    # A name's private address is not told: whoever may add mirrors could read our DNS with it.
    what = "is" if _literal(url.hostname) else "has an address that is"
    line = allowed.line_for(address, hostname=url.hostname)
    return Blocked(f"{url.hostname} {what} not on the public Internet: {_ALLOWING} {line}")


def _look_up(hostname: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "no such name"
        raise GitError(Outcome.TRANSIENT, f"could not resolve host {hostname}: {reason.lower()}") from None
    return [str(entry[4][0]).partition("%")[0] for entry in found]


def _in_time(look_up: Callable[[], list[str]], hostname: str) -> list[str]:
    """Return what a look-up finds, or raise GitError once it takes too long: the system's resolver has no deadline."""
    answers: SimpleQueue[list[str] | GitError] = SimpleQueue()

    def ask() -> None:
        try:
            answers.put(look_up())
        except GitError as error:
            answers.put(error)

    threading.Thread(target=ask, name="resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=RESOLVE_SECONDS)
    except Empty:
        raise GitError(Outcome.TRANSIENT, f"could not resolve host {hostname}: DNS did not answer") from None
    if isinstance(answer, GitError):
        raise answer
    return answer


def _own() -> frozenset[Address]:
    """Return the addresses of this machine's interfaces, which may be public ones (Linux; none elsewhere)."""
    return frozenset((*_own_ipv4(), *_own_ipv6()))


def _own_ipv4() -> list[Address]:
    text = _read("/proc/net/fib_trie")
    return [ipaddress.ip_address(each) for each in re.findall(r"\|-- ([0-9.]+)\s+/32 host LOCAL", text)]


def _own_ipv6() -> list[Address]:
    lines = _read("/proc/net/if_inet6").split("\n")
    return [ipaddress.ip_address(int(line.split()[0], 16)) for line in lines if line]


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except OSError:
        return ""
