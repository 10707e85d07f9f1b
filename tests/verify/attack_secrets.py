"""Where the canary password was found, and that it did reach the one server that may have it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tests.verify.concurrency import Event

if TYPE_CHECKING:
    from tests.verify.attack import Run

MEMBERS = {"secret-basic", "secret-redirected"}
CHUNK = 1 << 22


def found(run: "Run") -> int:
    """Count the places where the password was found; each is a problem, and so is a blind watcher."""
    places = [*_in_processes(run), *_in_files(run), *_at_servers(run)]
    run.problems += [f"the password was found in {place}" for place in places]
    return len(places)


def _in_processes(run: "Run") -> Iterator[str]:
    seen = [event for event in run.processes if event["event"] == "secret"]
    for where in ("argv", "environ"):
        if not any(event["needle"] == run.plan["decoy"] and event["where"] == where for event in seen):
            run.problems.append(
                f"the watcher did not see the decoy in {where}: it might have missed a password"
            )
    for event in seen:
        if event["needle"] != run.plan["decoy"]:
            yield f"the {event['where']} of {event['command'][:80]}"


def _in_files(run: "Run") -> Iterator[str]:
    """Search whatever the product wrote or shows: database, logs, Redis, pages, repositories."""
    needles = [needle.encode() for needle in run.plan["needles"]]
    sinks, state = run.folder / "sinks", run.folder / "state"
    files = [
        path
        for place in (sinks, state)
        for path in place.rglob("*")
        if path.is_file() and not path.is_symlink()
    ]
    for path in [*files, run.folder / "redis-monitor.txt", run.folder / "up.log"]:
        if path.suffix in {".pack", ".idx"} or not path.exists():
            continue
        if any(_holds(path, needle) for needle in needles):
            yield str(path.relative_to(run.folder))
    for wanted in (sinks / "redis.txt", sinks / "metrics.txt", run.folder / "redis-monitor.txt"):
        if not wanted.exists() or not wanted.stat().st_size:
            run.problems.append(f"there is nothing in {wanted.name}: a password in it would not be seen")
    if not any(path.name.startswith("db.sqlite3") for path in files):
        run.problems.append("the database was not searched")


def _holds(path: Path, needle: bytes) -> bool:
    rest = b""
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            if needle in rest + piece:
                return True
            rest = piece[-len(needle) :]
    return False


def _at_servers(run: "Run") -> Iterator[str]:
    """Find requests that brought the password to a server, or to a name, that has no right to it."""
    delivered = 0
    for event in run.world:
        if event["event"] != "request" or not _carries(event, run.plan["needles"]):
            continue
        if event["case"] in MEMBERS and event["headers"].get("host", "").endswith(".secret.hub.example"):
            delivered += event["case"] == "secret-basic"
        else:
            yield f"a request to {event['headers'].get('host')} for {event['path'][:80]}"
    for event in run.world:
        if event["event"] == "canary_heard" and any(
            needle in event["said"] for needle in run.plan["needles"]
        ):
            yield f"what {event['at']} heard"
    if run.runs("secret") and not delivered:
        run.problems.append("the password reached nobody, not even its own server: nothing was tested")


def _carries(event: Event, needles: list[str]) -> bool:
    text = f"{event['path']} {event['headers']}"
    return any(needle in text for needle in needles)
