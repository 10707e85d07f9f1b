"""A network of our own for the attack: public addresses, inner addresses and DNS, none of which leads anywhere else.

The run starts itself again in a network and mount name space. There the product runs as it is delivered, with no
private network allowed: `11.0.0.0/24`, a public range, is routed to this machine without being an address of it, inner
addresses belong to it as in any data centre, and `/etc/resolv.conf` names our DNS server. Root or user name spaces
are needed; nothing outside of the name space is changed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.acceptance.plan import Failed
from tests.lab.dns_double import resolver_file

INSIDE = "MIRRORING_ATTACK_NETWORK"
DNS = "127.0.0.53"
PUBLIC = "11.0.0.0/24"
HUB, OTHER, SSH, LIVE, DEAD = "11.0.0.10", "11.0.0.11", "11.0.0.22", "11.0.0.30", "11.0.0.66"
TLS, EXPIRED, PLAIN = "11.0.0.40", "11.0.0.41", "11.0.0.42"
INNER_IPV4 = ("10.1.2.3", "172.16.5.5", "192.168.7.7", "169.254.169.254", "100.64.1.1")
INNER_IPV6 = ("fd00:ec2::254", "fd12:3456::7")
INNER = ("127.0.0.1", "127.8.8.8", "::1", *INNER_IPV4, *INNER_IPV6)
INNER_PORTS = (22, 80, 443, 8080)


def enter() -> None:
    """Start this program again in a network of its own, unless it is there; return once there."""
    if os.environ.get(INSIDE) == str(os.getpid()):
        _arrange()
        return
    if not all(shutil.which(tool) for tool in ("unshare", "ip", "mount")):
        raise Failed("unshare, ip and mount are needed: install util-linux and iproute2")
    spaces = ["--net", "--mount", "--propagation", "private"]
    if os.geteuid() != 0:
        spaces += ["--user", "--map-root-user"]
    tried = subprocess.run(["unshare", *spaces, "true"], capture_output=True, text=True)
    if tried.returncode:
        raise Failed(
            "this machine allows no network of our own "
            f"({tried.stderr.strip()[-100:]}): run as root, or allow user name spaces"
        )
    # unshare does not fork here: it becomes the program, whose number stays ours.
    os.environ[INSIDE] = str(os.getpid())
    sys.stdout.flush()
    os.execvp("unshare", ["unshare", *spaces, sys.executable, *sys.orig_argv[1:]])


def _arrange() -> None:
    _ip("link", "set", "lo", "up")
    _ip("route", "add", "local", PUBLIC, "dev", "lo")
    for address in INNER_IPV4:
        _ip("address", "add", f"{address}/32", "dev", "lo")
    for address in INNER_IPV6:
        _ip("-6", "address", "add", f"{address}/128", "dev", "lo", "nodad")
    with tempfile.TemporaryDirectory(prefix="mirroring-attack-") as folder:
        for name, text in (("resolv.conf", resolver_file(DNS)), ("nsswitch.conf", "hosts: files dns\n")):
            file = Path(folder) / name
            file.write_text(text)
            target = Path("/etc") / name
            if target.exists():
                # A link is followed here: the name space sees our file wherever the real one lies.
                _run("mount", "--bind", str(file), str(target.resolve()))


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"`{' '.join(words)}` failed: {done.stderr.strip()[-200:]}")
