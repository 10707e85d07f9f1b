"""Everything that a run needs: upstreams, stores, instruments, and the product with its mirrors in it."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.acceptance.chaos import upstreams
from tests.acceptance.chaos.fleet import Fleet
from tests.acceptance.chaos.plan import CHECKS, FLAGS, Plan
from tests.acceptance.chaos.stores import Postgres, Redis, Sqlite, database
from tests.acceptance.chaos.upstreams import Upstream
from tests.acceptance.journal import Journal
from tests.acceptance.plan import Failed
from tests.acceptance.processes import LOOPBACK, Process, clean_environment

STORAGE = "96m"  # Small enough to be filled in a moment, large enough for every mirror.


@dataclass
class World:
    """The run's things. `mirrors` are those of the product, as its command line shows them."""

    plan: Plan
    folder: Path
    journal: Journal
    upstreams: list[Upstream]
    redis: Redis
    database: Sqlite | Postgres
    fleet: Fleet
    url: str
    disk: str
    mirrors: list[dict[str, Any]] = field(default_factory=list)
    behaviours: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        """Return MIRRORING_STATE."""
        return self.folder / "state"

    def behave(self, behaviours: dict[str, str]) -> None:
        """Let the named upstreams misbehave, and all others answer well."""
        self.behaviours = behaviours
        serve(self.folder, self.upstreams, behaviours)


def serve(folder: Path, served: list[Upstream], behaviours: dict[str, str]) -> None:
    """Write the file that the upstream server follows."""
    entries = {
        each.name: {"path": str(each.path), "behaviour": behaviours.get(each.name, "")} for each in served
    }
    draft = folder / "served.draft"
    draft.write_text(json.dumps(entries))
    draft.rename(folder / "served.json")


@contextmanager
def world(plan: Plan, folder: Path, journal: Journal) -> Iterator[World]:
    """Build everything up to the product's own processes, and take it all down again."""
    with ExitStack() as stack:
        made = upstreams.make_upstreams(folder / "upstreams", seed=plan.seed, count=plan.mirrors)
        write_states(folder / "states.json", made)
        serve(folder, made, {})
        lab = _start(
            stack, folder, "tests.acceptance.chaos.upstream_server", "--repositories", folder / "served.json"
        )
        recorder = _start(stack, folder, "tests.verify.recorder")
        redis, store = Redis(folder / "redis"), database(plan.database, folder)
        (folder / "state").mkdir(mode=0o700)
        stack.callback(redis.kill)
        redis.start()
        stack.callback(store.stop)
        store.start()
        disk = _storage(stack, folder / "state/repositories")
        environment = clean_environment() | {
            "MIRRORING_STATE": str(folder / "state"),
            "MIRRORING_GIT": recorder["git"],
            "ALLOW_PRIVATE_UPSTREAMS": LOOPBACK,
            "REDIS_URL": redis.url,
            "DATABASE_URL": store.url,
            "STALL_SECONDS": "30",
            "PYTHONUNBUFFERED": "1",
        }
        fleet = Fleet(folder, journal, plan, environment=environment)
        stack.callback(fleet.stop)
        found = World(plan, folder, journal, made, redis, store, fleet, url=lab["url"], disk=disk)
        _fill(found)
        yield found


def write_states(path: Path, made: list[Upstream]) -> None:
    """Write down every state that each upstream ever publishes."""
    path.write_text(json.dumps({each.name: each.states for each in made}))


def _start(stack: ExitStack, folder: Path, module: str, *arguments: str | Path) -> dict[str, Any]:
    log = folder / ("git.jsonl" if "recorder" in module else "upstream.jsonl")
    process = Process(module, *arguments, "--log", log, output=folder / f"{module.rpartition('.')[2]}.log")
    stack.enter_context(process)
    return process.first_line()


def _storage(stack: ExitStack, folder: Path) -> str:
    """Put the repositories on a small file system of their own, if we may; say how the disk can be filled."""
    folder.mkdir(mode=0o700)
    if shutil.which("mount"):
        command = ["mount", "-t", "tmpfs", "-o", f"size={STORAGE},mode=700", "chaos", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            stack.callback(
                subprocess.run, ["umount", "--lazy", str(folder)], check=False, capture_output=True
            )
            return "tmpfs"
    return "fsize"


def _fill(found: World) -> None:
    """Make the tables, the settings, the flags and the mirrors."""
    manage = found.fleet.manage
    manage("migrate", "--verbosity", "0")
    manage("settings", "set", *(str(word) for pair in found.plan.settings.items() for word in pair))
    for name in (*FLAGS, *([CHECKS] if found.plan.checks else [])):
        manage("feature", "set", name, "true", "--force")
    urls = [f"{found.url}/{each.name}.git" for each in found.upstreams]
    listed = found.folder / "mirrors.txt"
    listed.write_text("".join(f"{url}\n" for url in urls))
    rows = json.loads(manage("mirror", "import", str(listed), "--json"))
    found.mirrors = [
        {"id": row["id"], "name": row["name"], "repository": row["repository"], "upstream": _upstream_of(row)}
        for row in rows
    ]
    if len(found.mirrors) != found.plan.mirrors:
        raise Failed(f"`mirror import` took {len(found.mirrors)} of {found.plan.mirrors} mirrors")


def _upstream_of(row: dict[str, Any]) -> str:
    return str(row["url"]).rpartition("/")[2].removesuffix(".git")
