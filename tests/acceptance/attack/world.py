"""The world around the product in the attack: DNS, hostile servers, canaries, watchers, and upstream repositories."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.acceptance import processes
from tests.acceptance.attack import network
from tests.acceptance.attack.network import HUB, INNER, INNER_PORTS, OTHER
from tests.acceptance.attack.plan import Plan
from tests.acceptance.attack.scene import Scene
from tests.lab import fast_import, repositories
from tests.lab.canary import Canary
from tests.lab.dns_double import DnsDouble, Zone, always, in_turn
from tests.lab.fast_import import Stream
from tests.lab.hostile import HostileServer

Note = Callable[..., None]

# Names by what they turn out to be.
TREACHEROUS: dict[str, tuple[str, Callable[[int], object]]] = {
    "inner.example": ("inner", always("127.0.0.1")),
    "metadata.example": ("inner", always("169.254.169.254")),
    "private.example": ("inner", always("10.1.2.3")),
    "shared-space.example": ("inner", always("100.64.1.1")),
    "inner-v6.example": ("inner", always("::1")),
    "local-v6.example": ("inner", always("fd12:3456::7")),
    "metadata-v6.example": ("inner", always("fd00:ec2::254")),
    "mapped.example": ("inner", always("::ffff:127.0.0.1")),
    "translated.example": ("inner", always("64:ff9b::7f00:1")),
    "six-to-four.example": ("inner", always("2002:7f00:1::")),
    "nowhere.example": ("inner", always("0.0.0.0")),
    "mixed.example": ("inner", always(HUB, "10.1.2.3")),
    "mixed-last.example": ("inner", always(*[HUB] * 20, "127.0.0.1")),
    "mixed-v6.example": ("inner", always(HUB, "::1")),
    "hidden-among-many.example": ("inner", always(*(f"11.0.0.{n}" for n in range(1, 120)), "192.168.7.7")),
    "rebind.example": ("changing", in_turn([HUB], ["127.0.0.1"])),
    "rebind-late.example": ("changing", in_turn([HUB], [HUB], [HUB], ["169.254.169.254"])),
    "rebind-back.example": ("changing", in_turn(["127.0.0.1"], [HUB], ["127.0.0.1"], [HUB], ["127.0.0.1"])),
    "flicker.example": ("changing", lambda number: [HUB] if number % 2 == 0 else ["10.1.2.3"]),
    "flicker-v6.example": ("changing", lambda number: [HUB] if number % 2 == 0 else ["::1"]),
    "silence.example": ("dead", lambda _number: None),
    "no-address.example": ("dead", always()),
    "fair.example": ("fair", always(HUB)),
    "fair-twice.example": ("fair", always(HUB, HUB)),
}


@dataclass(frozen=True)
class Repositories:
    """What the hostile servers serve."""

    good: Path
    many: Path
    bomb: Path
    live: list[Path]


def make_repositories(folder: Path, plan: Plan) -> Repositories:
    """Make an ordinary repository, one with very many refs, a bomb, and those of the live hosts."""
    good = repositories.make_upstream(folder, seed=plan.seed, number=0, shape="plain", name="good").path
    live = [
        repositories.make_upstream(folder, seed=plan.seed, number=n, shape="plain", name=f"live-{n}").path
        for n in range(min(5, plan.live))
    ]
    return Repositories(good, _many_refs(folder, plan), _bomb(folder, plan), live)


def _many_refs(folder: Path, plan: Plan) -> Path:
    path = folder / "many.git"
    rng = Random(f"many/{plan.seed}")
    stream = Stream(rng)
    stream.commit("refs/heads/main", files={"a": "a\n"})
    fast_import.make_bare(path, head="main")
    fast_import.feed(path, stream)
    head = fast_import.run(path, "rev-parse", "main").strip()
    names = {"main", *(f"b/{rng.getrandbits(40):010x}" for _ in range(plan.refs - 1))}
    (path / "refs" / "heads" / "main").unlink(missing_ok=True)
    lines = "".join(f"{head} refs/heads/{name}\n" for name in sorted(names))
    (path / "packed-refs").write_text(f"# pack-refs with: sorted \n{lines}")
    return path


def _bomb(folder: Path, plan: Plan) -> Path:
    """Make a repository whose one file is a gigabyte of zeros: a megabyte on the way, a thousand when unpacked."""
    path = folder / "bomb.git"
    fast_import.make_bare(path, head="main")
    command = ["git", "-c", "core.bigFileThreshold=1m", f"--git-dir={path}", "fast-import", "--quiet"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=fast_import.ENVIRONMENT) as process:
        assert process.stdin
        size = plan.bomb_mb << 20
        process.stdin.write(b"blob\nmark :1\ndata %d\n" % size)
        zeros = bytes(1 << 20)
        for _ in range(plan.bomb_mb):
            process.stdin.write(zeros)
        process.stdin.write(
            b"\ncommit refs/heads/main\ncommitter A <a@lab.example> 1577836800 +0000\ndata 2\nb\n"
            b"M 100644 :1 zeros\n\n"
        )
        process.stdin.close()
    assert process.returncode == 0
    return path


def zone() -> Zone:
    """Return every name of the attack."""
    names = {name: rule for name, (_, rule) in TREACHEROUS.items()}
    fair = {"hub.example": HUB, "*.hub.example": HUB, "other.example": OTHER, "*.other.example": OTHER}
    fair |= {"*.live.example": network.LIVE, "dead.example": network.DEAD, "*.ssh.example": network.SSH}
    fair |= {
        "*.tls.example": network.TLS,
        "expired.tls.example": network.EXPIRED,
        "plain.tls.example": network.PLAIN,
    }
    fair["inner.ssh.example"] = "127.0.0.1"
    return {**names, **{name: always(address) for name, address in fair.items()}}  # type: ignore[return-value]


@contextmanager
def dns(note: Note) -> Iterator[None]:
    """Answer for every name while the block runs."""
    with DnsDouble(zone(), address=(network.DNS, 53), note=note):
        yield


@contextmanager
def servers(scene: Scene, note: Note) -> Iterator[None]:
    """Run the hostile servers and the canaries, and show that the canaries sing."""
    places = [(address, port) for address in INNER for port in INNER_PORTS]
    with ExitStack() as running:
        running.enter_context(dns(note))
        running.enter_context(HostileServer(scene.deeds, addresses=[(HUB, 80), (OTHER, 80)], note=note))
        running.enter_context(Canary(places, note=note))
        note("canary_check", begin=True)
        for place in places:
            socket.create_connection(place, timeout=5).close()
        note("canary_check", places=[f"{address} {port}" for address, port in places])
        yield


@contextmanager
def watched(folder: Path, *, needles: list[str], decoy: str) -> Iterator[None]:
    """Have all processes watched for secrets, and show by a decoy that the watcher sees."""
    words = ("--log", folder / "proc.jsonl", "--below", folder)
    with processes.Process("tests.verify.proc_watch", *words, output=folder / "lab.log") as watcher:
        assert watcher.popen.stdin
        watcher.popen.stdin.write(json.dumps([*needles, decoy]).encode() + b"\n")
        watcher.popen.stdin.flush()
        watcher.first_line()
        code = "import time; time.sleep(0.5)"
        subprocess.run([sys.executable, "-c", code, decoy], env=os.environ | {"DECOY": decoy}, check=True)
        yield


def black_hole(address: str, port: int) -> ExitStack:
    """Make an address that takes no connection and refuses none, as a dead machine behind a router does."""
    holder = ExitStack()
    listener = holder.enter_context(socket.socket())
    listener.bind((address, port))
    listener.listen(0)
    # What fills the queue is never accepted; whoever comes next gets no answer to its first packet.
    for _ in range(4):
        filler = holder.enter_context(socket.socket())
        filler.setblocking(False)
        filler.connect_ex((address, port))
    return holder
