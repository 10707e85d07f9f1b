"""A small DNS server that answers what an attacker's would: other addresses each time, inner ones among public ones.

It speaks real DNS over UDP and TCP, so that the system's own resolver asks it; nothing of the product is replaced.
"""

import itertools
import socket
import socketserver
import struct
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Self

A, AAAA = 1, 28
NXDOMAIN = 3
LARGEST_DATAGRAM = 512

Answers = Sequence[str] | None
Zone = Mapping[str, Callable[[int], Answers]]
"""For a name, or the end of names after `*.`: the addresses at the n-th question (0, 1, ...); None is silence."""

Note = Callable[..., None]


def always(*addresses: str) -> Callable[[int], Answers]:
    """Return a name that has these addresses each time."""
    return lambda _number: addresses


def in_turn(*turns: Answers) -> Callable[[int], Answers]:
    """Return a name whose addresses change from question to question, and stay at the last."""
    return lambda number: turns[min(number, len(turns) - 1)]


class DnsDouble:
    """DNS on one address, UDP and TCP, while the block runs."""

    def __init__(self, zone: Zone, *, address: tuple[str, int], note: Note) -> None:
        self.zone = zone
        self._note = note
        self._asked: Counter[tuple[str, int]] = Counter()
        self._lock = threading.Lock()
        double = self

        class OverUdp(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                question, reply_to = self.request
                if (answer := double.answer(question)) is not None:
                    cut = answer if len(answer) <= LARGEST_DATAGRAM else _truncated(answer, question)
                    reply_to.sendto(cut, self.client_address)

        class OverTcp(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                while len(size := self.request.recv(2)) == 2:
                    question = self.request.recv(struct.unpack("!H", size)[0])
                    if (answer := double.answer(question)) is None:
                        return
                    self.request.sendall(struct.pack("!H", len(answer)) + answer)

        self._servers = [_Udp(address, OverUdp), _Tcp(address, OverTcp)]

    def __enter__(self) -> Self:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def answer(self, question: bytes) -> bytes | None:
        """Return the answer to one question; None if there is none to be given."""
        name, kind, end = _read_question(question)
        rule = self._rule(name)
        with self._lock:
            number = self._asked[name, kind]
            self._asked[name, kind] += 1
        found = rule(number) if rule else ()
        self._note("dns", name=name, kind={A: "A", AAAA: "AAAA"}.get(kind, str(kind)), answer=found)
        if found is None:
            return None
        records = [record for each in found if (record := _record(each, kind))]
        flags = 0x8180 | (0 if rule else NXDOMAIN)
        head = question[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0)
        return head + question[12:end] + b"".join(records)

    def _rule(self, name: str) -> Callable[[int], Answers] | None:
        labels = name.split(".")
        wild = (f"*.{'.'.join(labels[at:])}" for at in range(1, len(labels)))
        return next((self.zone[each] for each in itertools.chain([name], wild) if each in self.zone), None)


class _Udp(socketserver.ThreadingUDPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True


class _Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True


def _read_question(message: bytes) -> tuple[str, int, int]:
    """Return the name, the kind and where the question ends."""
    labels, at = [], 12
    while size := message[at]:
        labels.append(message[at + 1 : at + 1 + size].decode("ascii", errors="replace"))
        at += 1 + size
    return ".".join(labels).lower(), struct.unpack("!H", message[at + 1 : at + 3])[0], at + 5


def _record(address: str, kind: int) -> bytes:
    parsed = ip_address(address)
    if kind != (A if parsed.version == 4 else AAAA):
        return b""
    packed = parsed.packed
    return b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 0, len(packed)) + packed


def _truncated(answer: bytes, question: bytes) -> bytes:
    """Return the head alone, with the bit that says: ask again over TCP."""
    end = _read_question(question)[2]
    return answer[:2] + struct.pack("!HHHHH", 0x8380, 1, 0, 0, 0) + question[12:end]


def resolver_file(address: str) -> str:
    """Return the text of a resolv.conf that asks this server alone."""
    socket.inet_aton(address)
    return f"nameserver {address}\noptions timeout:2 attempts:1\n"
