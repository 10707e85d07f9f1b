"""A real sshd on a loopback port, with keys of its own, that lets one key in and serves git repositories.

It needs Debian's openssh-server, or the like. It runs as the user of the tests, and lets in that user only.
"""

import getpass
import os
import shutil
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Self

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")


class SshServer:
    """The server. `host_key` is its public key as "type base64", `client_key` the private key that it lets in."""

    def __init__(self, folder: Path, *, address: str = "127.0.0.1", port: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.user = getpass.getuser()
        self.client_key = make_key(folder / "client")
        self.address, self.port = address, port
        self._sshd: subprocess.Popen[bytes] | None = None
        self.renew_host_key()
        (folder / "authorized").write_text(public(self.client_key) + "\n")

    @property
    def host_key(self) -> str:
        """Return the public host key."""
        return public(self.folder / "host")

    def renew_host_key(self) -> None:
        """Make another host key, as after a new installation, or as a server in the middle has; restart to show it."""
        make_key(self.folder / "host")

    def key_that_runs(self, name: str, command: str) -> Path:
        """Return a private key whose owner gets this command, whatever they ask for."""
        key = make_key(self.folder / name)
        with (self.folder / "authorized").open("a") as file:
            file.write(f'command="{command}" {public(key)}\n')
        return key

    def url(self, path: Path) -> str:
        """Return the URL of a repository."""
        return f"ssh://{self.user}@{self.address}:{self.port}{path}"

    def __enter__(self) -> Self:
        self.port = self.port or _free_port()
        config = self.folder / "config"
        config.write_text(self._config())
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        log = (self.folder / "log").open("ab")
        self._sshd = subprocess.Popen([str(SSHD), "-D", "-e", "-f", str(config)], stderr=log)
        log.close()
        deadline = time.monotonic() + 10
        while not _listens(self.address, self.port):
            if self._sshd.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"sshd did not start: {(self.folder / 'log').read_text()}")
            time.sleep(0.05)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._sshd:
            self._sshd.terminate()
            self._sshd.wait(10)

    def _config(self) -> str:
        return f"""\
ListenAddress {self.address}
Port {self.port}
HostKey {self.folder / "host"}
AuthorizedKeysFile {self.folder / "authorized"}
AllowUsers {self.user}
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PidFile none
AcceptEnv GIT_PROTOCOL
X11Forwarding no
"""


def make_key(path: Path) -> Path:
    """Make a key pair; an earlier one is replaced."""
    path.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path], check=True)
    return path


def public(path: Path) -> str:
    """Return a public key as "type base64"."""
    return " ".join(Path(f"{path}.pub").read_text().split()[:2])


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(address: str, port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex((address, port)) == 0
