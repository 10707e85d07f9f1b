"""One SSH connection for many questions: a master with one contact's configuration, and the key gone once it is in."""

import time
from collections.abc import Hashable
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote

from mirroring.rules.outcomes import classify
from mirroring.upstream.access import ssh
from mirroring.upstream.access.contact import Contact, Route
from mirroring.upstream.access.credentials import Secret, handed_over, private_folder
from mirroring.upstream.access.reaching import TOTAL
from mirroring.upstream.client.dialing import Unsupported
from mirroring.upstream.errors import GitError
from mirroring.upstream.git.bounds import MB
from mirroring.upstream.git.environment import environment
from mirroring.upstream.git.kept import Kept, keeping
from mirroring.upstream.git.process import StopHandle, sanitize
from mirroring.upstream.policy.urls import UpstreamURL

START_SECONDS = 20.0
MEMORY = 256 * MB
LONGEST_PATH = 85
"""A socket's may have 107, and ssh appends 17 for the moment in which it makes it."""

_LOOK_SECONDS = 0.01


@dataclass(frozen=True)
class Master:
    """A running master, and all that goes with it."""

    control: Path
    kept: Kept
    holds: ExitStack

    @property
    def runs(self) -> bool:
        """Say whether it still holds its connection."""
        return self.kept.runs

    def end(self) -> None:
        """End it, and remove its folder."""
        self.holds.close()


def shared_by(url: UpstreamURL, route: Route, secret: Secret | None) -> Hashable:
    """Return what questions must have in common to go over one connection; the key is in it as a digest only."""
    key = sha256(secret.private_key.encode()).digest() if secret else b""
    return url.hostname, url.port, url.user, route.proxy, route.known_hosts, key


def path_of(url: UpstreamURL) -> str:
    """Return the path that git asks an SSH server for."""
    path = unquote(url.path) if "://" in url.url else url.path
    return path[1:] if path[1:2] == "~" else path


def start(contact: Contact) -> Master:
    """Connect to a server and log in; the connection is tied to this thread.

    Raise TimeoutError, GitError or Unsupported.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(private_folder())
        control = folder / "control"
        if len(str(control)) > LONGEST_PATH:
            raise Unsupported("the folder for keys has too long a name for a socket")
        with handed_over(contact.secret, url=contact.url) as handover:
            ssh.prepare(contact, folder / "ssh", key=handover.ssh_key, left=TOTAL, stop=StopHandle())
            # What the command line says comes before what the file says.
            command: list[str | Path] = ["ssh", "-F", folder / "ssh" / "config", "-M", "-N", "-S", control]
            command += ["-o", "SendEnv=GIT_PROTOCOL", "-p", str(contact.url.port), "-l", contact.url.user]
            kept = stack.enter_context(
                keeping(
                    [*command, "--", contact.url.hostname],
                    environment=environment(),
                    said=folder / "said",
                    memory=MEMORY,
                )
            )
            _wait(control, kept)
        return Master(control, kept, stack.pop_all())


def _wait(control: Path, kept: Kept) -> None:
    """Wait until the master is logged in: only then does its control socket appear."""
    until = time.monotonic() + START_SECONDS
    while not control.exists():
        if not kept.runs:
            said = kept.said()
            raise GitError(classify(said), sanitize(said))
        if time.monotonic() > until:
            raise TimeoutError(f"not logged in within {START_SECONDS:.0f} s")
        time.sleep(_LOOK_SECONDS)
