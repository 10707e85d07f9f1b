"""Upstreams behind SSH and TLS: servers with something wrong about them, and one of each that is right."""

import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.acceptance.attack import network
from tests.acceptance.attack.cases import BLOCKED, BOUNDED, FAILED, FINE, Case
from tests.acceptance.attack.world import Note
from tests.acceptance.plan import Failed
from tests.lab.certificates import Authority
from tests.lab.hostile import HostileServer, packet, redirect, serve
from tests.lab.ssh_server import SSHD, SshServer, make_key, public

HUNG, AUTH, GONE, TRANSIENT = (frozenset({each}) for each in ("hung", "auth", "gone", "transient"))
SECONDS = 60
"""How long a hanging server lives after its client has gone."""


class Secured:
    """The servers; `cases` that lead there; and what the product is told of hosts and credentials, by an operator."""

    def __init__(self, folder: Path, *, good: Path) -> None:
        self.good = good
        self.cases: list[Case] = []
        self.hosts: list[dict[str, str]] = []
        self.credentials: list[dict[str, Any]] = []
        self.authority = Authority(folder / "tls")
        self._tls()
        if SSHD is None:
            raise Failed("sshd is needed: install openssh-server, or name other groups in ATTACK_ONLY")
        self.sshd = SshServer(folder / "ssh", address=network.SSH, port=22)
        self._ssh(folder)

    @contextmanager
    def serving(self, note: Note) -> Iterator[None]:
        """Run all servers."""
        deeds = {
            f"tls-{word}": serve(self.good) for word in ("known", "unknown", "wrong-name", "expired", "plain")
        }
        deeds["tls-downgraded"] = redirect(302, "http://hub.example/good/{rest}")
        names = [f"{word}.tls.example" for word in ("known", "unknown", "downgraded")]
        with ExitStack() as running:
            for address, certificate in (
                (network.TLS, self.authority.certificate(*names)),
                (network.EXPIRED, self.authority.certificate("expired.tls.example", days=-1)),
                (network.PLAIN, None),
            ):
                context = _context(certificate) if certificate else None
                server = HostileServer(deeds, addresses=[(address, 443)], note=note, tls=context)
                running.enter_context(server)
            running.enter_context(self.sshd)
            yield

    def _tls(self) -> None:
        """All hosts but one have the private authority that signs; what is wrong is something else."""
        ends = {
            "known": FINE, "unknown": TRANSIENT, "wrong-name": TRANSIENT, "expired": TRANSIENT, "plain": TRANSIENT,
            "downgraded": FAILED,
        }  # fmt: skip
        for word, end in ends.items():
            host = f"{word}.tls.example"
            if word != "unknown":
                self.hosts.append({"name": host, "ca_bundle": str(self.authority.bundle)})
            repository = str(self.good) if end is FINE else ""
            self.cases.append(
                Case(f"tls/{word}", f"https://{host}/tls-{word}/x.git", end, repository=repository)
            )

    def _ssh(self, folder: Path) -> None:
        refs = folder / "refs"
        refs.write_bytes(packet(b"1" * 40 + b" refs/heads/" + b"x" * 200 + b"\n") * 1_000)
        server, let_in = self.sshd, self.sshd.client_key
        run = server.key_that_runs
        # What is asked for, the key that the server shows, the client's key, and how it may end.
        shown = server.host_key
        another = public(make_key(folder / "another"))
        self._shell("pinned", shown, let_in, FINE)
        self._shell("another-key", another, let_in, BLOCKED)
        self._shell("unpinned", "", let_in, BLOCKED)
        self._shell("inner", shown, let_in, BLOCKED)
        self._shell("not-let-in", shown, make_key(folder / "stranger"), AUTH)
        self._shell("not-there", shown, let_in, GONE, path="/nowhere/x.git")
        self._shell("hangs", shown, run("hangs", f"sleep {SECONDS}"), HUNG)
        self._shell("drips", shown, run("drips", "printf 00ff; while printf a; do sleep 0.2; done"), HUNG)
        self._shell("babbles", shown, run("babbles", "yes babble"), BOUNDED)
        self._shell("endless", shown, run("endless", f"while cat {refs}; do :; done"), BOUNDED)

    def _shell(self, word: str, host_key: str, key: Path, ends: frozenset[str], *, path: str = "") -> None:
        host = f"{word}.ssh.example"
        if host_key:
            self.hosts.append({"name": host, "key": host_key})
        self.credentials.append({"name": f"ssh-{word}", "secret": key.read_text(), "hosts": [host]})
        url = f"ssh://{self.sshd.user}@{host}{path or self.good}"
        repository = str(self.good) if ends is FINE else ""
        self.cases.append(Case(f"ssh/{word}", url, ends, repository=repository, credential=f"ssh-{word}"))


def _context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
