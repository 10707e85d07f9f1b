"""SSH to an upstream: one contact's own configuration, with the server's keys pinned and nothing else trusted."""

import base64
import binascii
import hashlib
import re
import shlex
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from mirroring.rules.outcomes import Outcome
from mirroring.upstream.access.contact import Contact
from mirroring.upstream.access.reaching import reachable
from mirroring.upstream.errors import Blocked, GitError
from mirroring.upstream.git.environment import environment
from mirroring.upstream.git.process import StopHandle, run

WRAPPER = Path(__file__).with_name("ssh_wrapper.py")
TUNNEL = Path(__file__).with_name("http_tunnel.py")
CONNECT_SECONDS = 10
SCAN_TIMEOUT = timedelta(seconds=30)
KEY_TYPES = "ed25519,ecdsa,rsa"

_KEY = re.compile(r"\A(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) ([A-Za-z0-9+/]+={0,2})\Z")

_OPTIONS = f"""\
BatchMode yes
CanonicalizeHostname no
CheckHostIP no
ClearAllForwardings yes
ConnectTimeout {CONNECT_SECONDS}
ControlMaster no
ControlPath none
ForwardAgent no
ForwardX11 no
GSSAPIAuthentication no
GlobalKnownHostsFile /dev/null
IdentitiesOnly yes
IdentityAgent none
LogLevel ERROR
PermitLocalCommand no
PreferredAuthentications publickey
RequestTTY no
ServerAliveCountMax 3
ServerAliveInterval 15
StrictHostKeyChecking yes
UpdateHostKeys no
VerifyHostKeyDNS no
"""


def prepare(
    contact: Contact, folder: Path, *, key: Path | None = None, left: timedelta, stop: StopHandle
) -> dict[str, str]:
    """Write ssh's configuration for a contact into a folder, and return what git's environment needs.

    Raise Blocked where no key of the server is pinned, GitError where none of its addresses can be connected to in the
    time that is left.
    """
    host = contact.url.host
    if not contact.known_hosts:
        raise Blocked(f"no host key of {host} is known: look at its keys with `manage.py host keys {host}`")
    folder.mkdir(mode=0o700, exist_ok=True)
    known = folder / "known_hosts"
    known.write_text("".join(f"{contact.url.hostname} {line}\n" for line in contact.known_hosts))
    options = {
        "HostKeyAlias": contact.url.hostname,
        "UserKnownHostsFile": _quoted(known),
        "IdentityFile": _quoted(key) if key else "none",
        "ProxyCommand": _through(contact) if contact.proxy else "none",
    }
    if not contact.proxy:
        options["HostName"] = _address(contact, left=left, stop=stop)
    config = folder / "config"
    config.write_text(_OPTIONS + "".join(f"{name} {value}\n" for name, value in options.items()))
    return {"GIT_SSH": str(WRAPPER), "GIT_SSH_VARIANT": "ssh", "MIRRORING_SSH_CONFIG": str(config)}


def scan(contact: Contact) -> list[str]:
    """Return the keys that the server shows now, as "type base64". Nothing of this makes them its own."""
    if contact.proxy:
        raise Blocked(
            f"{contact.url.host} is behind a proxy, through which its keys cannot be fetched: "
            "give the key itself, as its operator publishes it"
        )
    command = ["ssh-keyscan", "-T", str(CONNECT_SECONDS), "-p", str(contact.url.port), "-t", KEY_TYPES]
    stop = StopHandle()
    said = run(
        [*command, "--", _address(contact, left=SCAN_TIMEOUT, stop=stop)],
        environment=environment(),
        timeout=SCAN_TIMEOUT,
        stop=stop,
        output_limit=64 * 1024,
    )
    lines = [line.partition(" ")[2] for line in said.splitlines() if not line.startswith("#")]
    found = [line for line in lines if _KEY.match(line)]
    if not found:
        raise GitError(Outcome.TRANSIENT, f"{contact.url.host} showed no host key on port {contact.url.port}")
    return sorted(found)


def is_key(line: str) -> bool:
    """Say whether a line is a public key as "type base64"."""
    found = _KEY.match(line)
    if not found:
        return False
    with suppress(binascii.Error):
        blob = base64.b64decode(found[2], validate=True)
        return blob[4 : 4 + int.from_bytes(blob[:4])] == found[1].encode()
    return False


def fingerprint(key: str) -> str:
    """Return the fingerprint of a "type base64" key as ssh shows it: SHA256:..."""
    digest = hashlib.sha256(base64.b64decode(key.split(" ")[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("%", "%%") + '"'


def _through(contact: Contact) -> str:
    """Return the command that reaches the server by way of the proxy. ssh hands it to a shell: every word is quoted."""
    proxy = urlsplit(contact.proxy or "")
    words = [sys.executable, "-I", "-S", str(TUNNEL), proxy.hostname or "", str(proxy.port or 80)]
    words += [contact.url.bracketed, str(contact.url.port)]
    return shlex.join(words).replace("%", "%%")


def _address(contact: Contact, *, left: timedelta, stop: StopHandle) -> str:
    """Return the address to connect to: ssh is given one only, of several the first that answers."""
    if len(contact.addresses) == 1:
        return contact.addresses[0]
    return reachable(contact, left=left, stop=stop)
