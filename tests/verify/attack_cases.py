"""What came of each case: the door, the outcome, the reason shown, and what lies on the disk."""

import re
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.verify import git_facts
from tests.verify.concurrency import Event

if TYPE_CHECKING:
    from tests.verify.attack import Run

FINE = {"changed", "unchanged"}
LONGEST_REASON = 1_000
SCHEMES = {"http": 80, "https": 443, "ssh": 22}
SMALL_PORTS = {22, 80, 443}
# Written down here once more, from the registries and not from the product.
NOT_PUBLIC = [
    ip_network(each)
    for each in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
        "::/8", "64:ff9b::/32", "100::/8", "2001::/23", "2001:db8::/32", "2002::/16", "fc00::/7", "fe80::/9",
        "ff00::/8",
    )
]  # fmt: skip
_AUTHORITY = re.compile(r"\A(?P<scheme>[a-z]+)://(?P<authority>[^/?#\\]*)(?P<path>/.*)\Z", re.DOTALL)
_SCP = re.compile(
    r"\A(?P<user>[A-Za-z0-9][\w.+-]*)@(?P<host>[a-z0-9.-]+):(?P<path>[^:-].*)\Z", re.ASCII | re.DOTALL
)
_HOST = re.compile(r"\A(?:\[[0-9a-f:.]+\]|[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)\Z")
_FORBIDDEN_IN_REF = re.compile(rb"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|\Z)|/\Z|\.\Z")
_SECRET_IN_CONFIG = re.compile(
    r"url|extraheader|helper|insteadof|sshcommand|proxy|hookspath|fsmonitor", re.IGNORECASE
)


def count(run: "Run") -> int:
    """Return how many cases were judged, and complain about those that came out wrong."""
    rows = {row["name"]: row for row in run.read("mirrors.json")}
    for case in run.cases:
        row = rows.get(f"attack/{case['name'].replace('/', '-')}")
        for complaint in _complaints(case, row, run) if row else ["its mirror is not listed"]:
            run.problems.append(f"{case['name']}: {complaint}")
    fuzzed = run.lines("fuzz.jsonl")
    for verdict in fuzzed:
        if verdict["taken"] and (wrong := _taken_wrongly(verdict)):
            run.problems.append(f"the door took {verdict['url']!r} as {verdict['normal']!r}: {wrong}")
    if run.runs("fuzz") and not any(verdict["taken"] for verdict in fuzzed):
        run.problems.append("the door took none of the fuzzed URLs: nothing was learned")
    return len(run.cases) + len(fuzzed)


def _complaints(case: Event, row: dict[str, Any], run: "Run") -> Iterator[str]:
    if case["door"] == "refused" and case["verdict"]["taken"]:
        yield f"the door took {case['url'][:100]!r}"
    ended = [attempt["outcome"] for attempt in row["attempts"] if attempt["ended"]]
    if len(ended) < case["rounds"]:
        yield f"it ended {len(ended)} times of {case['rounds']}; it is {row['status']}"
    yield from (f"it ended as {each or 'nothing'}, not as {'/'.join(case['ends'])} ({row['error'][:160]})"
                for each in dict.fromkeys(ended) if each not in case["ends"])  # fmt: skip
    if row["fresh"] and not FINE & set(case["ends"]):
        yield "it is called fresh"
    if not row["fresh"] and ended and not row["error"]:
        yield "it failed without a reason"
    yield from _unfit(row["error"], run)
    if row["fresh"] and case["repository"]:
        upstream, mirror = git_facts.read(case["repository"]), git_facts.read(row["repository"])
        yield from git_facts.differences(upstream=upstream, mirror=mirror)[:1]
    yield from _on_disk(Path(row["repository"]))


def _unfit(reason: str, run: "Run") -> Iterator[str]:
    """Find what a remote may have smuggled into what people are shown."""
    if not reason.isprintable() or len(reason) > LONGEST_REASON:
        yield f"its reason has control characters or {len(reason)} characters: {reason[:80]!r}"
    if any(needle in reason for needle in run.plan["needles"]):
        yield "its reason shows the password"


def _on_disk(repository: Path) -> Iterator[str]:
    """Find refs that git forbids, and files that only an attacker can have wanted there."""
    if not repository.exists():
        return
    packed = repository / "packed-refs"
    lines = packed.read_bytes().split(b"\n") if packed.exists() else []
    yield from (f"its packed-refs holds {line[:100]!r}" for line in lines if not _is_sane(line))
    links = [path for path in repository.rglob("*") if path.is_symlink()]
    yield from (f"there is a symbolic link {link}" for link in links)
    hooks = repository / "hooks"
    if hooks.exists() and any(hooks.iterdir()):
        yield "there are hooks"
    if found := _SECRET_IN_CONFIG.search((repository / "config").read_text()):
        yield f"its configuration has {found[0]}"


def _is_sane(line: bytes) -> bool:
    if line[:1] in {b"#", b"^", b""}:
        return True
    oid, _, name = line.partition(b" ")
    is_ref = name.startswith(b"refs/") and not _FORBIDDEN_IN_REF.search(name)
    return is_ref and re.fullmatch(rb"[0-9a-f]{40}", oid) is not None


def _taken_wrongly(verdict: Event) -> str:
    """Return why a URL must not have been taken, or not like this; empty if it is right."""
    normal, again = verdict["normal"], verdict["again"]
    if again != normal:
        return f"taken again it is {again!r}"
    if not normal.isascii() or not normal.isprintable() or " " in normal or "\\" in normal:
        return "it has other characters than a URL"
    if scp := _SCP.match(normal):
        return _wrong_host(scp["host"])
    parts = _AUTHORITY.match(normal)
    if not parts or parts["scheme"] not in SCHEMES:
        return "it has another scheme"
    user, at, place = parts["authority"].rpartition("@")
    if at and (parts["scheme"] != "ssh" or not re.fullmatch(r"[A-Za-z0-9_][\w.+-]*", user, re.ASCII)):
        return "it names a user"
    host, port = (place, "") if place.endswith("]") or ":" not in place else place.rsplit(":", 1)
    if port and not _is_fit(port):
        return f"port {port}"
    if (urlsplit(normal).hostname or "") != host.strip("[]"):
        return "Python reads another host"
    return _wrong_host(host) or (
        "it leads out of the server's folder" if "/../" in parts["path"] + "/" else ""
    )


def _is_fit(port: str) -> bool:
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65_536:
        return False
    return int(port) != 9418 and (int(port) >= 1024 or int(port) in SMALL_PORTS)


def _wrong_host(host: str) -> str:
    if not _HOST.match(host) or ".." in host:
        return f"the host {host!r}"
    if host == "localhost" or host.endswith(".localhost"):
        return "it is this machine"
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        last = host.rpartition(".")[2]
        return "its host is a number" if re.fullmatch(r"\d+|0x[0-9a-f]*", last) else ""
    return (
        "its address is not public"
        if any(address in each for each in NOT_PUBLIC if each.version == address.version)
        else ""
    )
