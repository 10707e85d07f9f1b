"""What surrounds the four deployments: upstream repositories, their servers, and the commands' file."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

import yaml

from tests.acceptance.journal import Journal
from tests.acceptance.processes import Process
from tests.acceptance.seed.builds import Builds
from tests.acceptance.seed.environments import Environment
from tests.acceptance.seed.plan import (
    CAPACITY,
    DOOR_SECONDS,
    ENVIRONMENTS,
    STABLE_SECONDS,
    UPSTREAM_SECONDS,
    Plan,
)
from tests.chatops import slack_double
from tests.lab import repositories
from tests.lab.repositories import Push, Upstream

FEW = 2
SLOW = {"slow-a": "127.0.0.1", "slow-b": "127.0.0.2"}
"""Production's upstreams are on two hosts, each of which may have all slots."""
CHANNELS = {"production_channel": "CPRODUCTION", "support_channel": "CSUPPORT"}
"""Of production, in a double of Slack; the team's is in the definitions of the flags."""


@dataclass
class Walk:
    """What all steps of the walk share."""

    plan: Plan
    folder: Path
    journal: Journal
    builds: Builds
    upstreams: list[Upstream]
    servers: Mapping[str, str]
    slack: slack_double.Double
    environments: dict[str, Environment]
    mirrors: dict[str, dict[str, str]] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def production(self) -> Environment:
        """Return the environment that all this is about."""
        return self.environments["production"]

    @property
    def dice(self) -> Random:
        """Return the dice of this seed."""
        return Random(f"walk/{self.plan.seed}")

    @property
    def chatops_file(self) -> Path:
        """Return the file that tells production where the others are."""
        return self.folder / "chatops.yml"

    def push(self, environment: str, count: int, *, seed: int) -> list[Push]:
        """Change some upstreams that an environment mirrors; return what was pushed."""
        named = {each.name: each for each in self.upstreams}
        chosen = Random(f"push/{self.plan.seed}/{seed}").sample(sorted(self.mirrors[environment]), count)
        pushed = [
            repositories.push_commits(named[name], seed=self.plan.seed * 1000 + seed) for name in chosen
        ]
        for push in pushed:
            self.journal.note("push", environment=environment, **vars(push))
        return pushed

    def save(self, name: str, data: Any) -> str:
        """Keep something that was seen; return the name of its file."""
        (self.folder / "seen").mkdir(exist_ok=True)
        (self.folder / "seen" / name).write_text(json.dumps(data, default=str), encoding="utf-8")
        return name


@contextmanager
def company(plan: Plan, folder: Path, journal: Journal) -> Iterator[Walk]:
    """Make everything that the walk needs, and take it down again: no environment runs yet."""
    journal.note("phase", f"making {plan.mirrors} upstream repositories and the builds")
    upstreams = [
        repositories.make_upstream(folder / "upstreams", seed=plan.seed, number=number, shape="plain")
        for number in range(plan.mirrors)
    ]
    builds = Builds(folder)
    dice = Random(f"upstreams/{plan.seed}")
    # An import of a mirror that is unchanged asks twice.
    slow = {each.name: f"slow:{dice.uniform(*UPSTREAM_SECONDS) / 2:.2f}" for each in upstreams}
    with ExitStack() as running:
        servers = {
            name: running.enter_context(_server(folder, name, upstreams, behaviours)).first_line()["url"]
            for name, behaviours in (*((name, slow) for name in SLOW), ("fast", dict.fromkeys(slow, "")))
        }
        slack = running.enter_context(slack_double.serve())
        walk = Walk(plan, folder, journal, builds, upstreams, servers, slack, {})
        for name in ENVIRONMENTS:
            variables = _variables(walk, name)
            walk.environments[name] = Environment(name, folder / name, builds.path, journal, variables)
            running.callback(walk.environments[name].stop)
        _write_plan(walk)
        yield walk


def _server(folder: Path, name: str, upstreams: list[Upstream], behaviours: Mapping[str, str]) -> Process:
    served = folder / f"served-{name}.json"
    entries = {each.name: {"path": str(each.path), "behaviour": behaviours[each.name]} for each in upstreams}
    served.write_text(json.dumps(entries))
    words = ("--repositories", served, "--log", folder / f"upstream-{name}.jsonl")
    words += ("--host", SLOW.get(name, "127.0.0.1"))
    return Process("tests.lab.http_server", *words, output=folder / "lab.log")


def _variables(walk: Walk, name: str) -> dict[str, str]:
    common = {"FLAG_STABLE_SECONDS": str(STABLE_SECONDS), "IMPORT_SLOTS": str(FEW)}
    if name != "production":
        return common
    walk.chatops_file.write_text("environments: {}\n")
    database = {"DATABASE_URL": walk.plan.database} if walk.plan.database else {}
    return (
        common
        | database
        | {
            "IMPORT_SLOTS": str(CAPACITY),
            "MIRRORING_CHATOPS": str(walk.chatops_file),
            "MIRRORING_SCHEDULING_DELAY": str(DOOR_SECONDS),
            "SLACK_BOT_TOKEN": slack_double.TOKEN,
            "SLACK_API_URL": walk.slack.api,
        }
    )


def register(walk: Walk, name: str) -> None:
    """Set an environment's settings and give it its mirrors, as an operator would."""
    environment, is_production = walk.environments[name], name == "production"
    settings = walk.plan.settings if is_production else walk.plan.small_settings
    environment.manage("settings", "set", *(str(word) for pair in settings.items() for word in pair))
    chosen = walk.upstreams if is_production else walk.dice.sample(walk.upstreams, FEW)
    servers = [walk.servers[each] for each in (SLOW if is_production else ("fast",))]
    rows = [
        {"url": f"{server}/{each.name}.git", "name": each.name, "group": "seed"}
        for each, server in zip(chosen, cycle(servers), strict=False)
    ]
    listed = environment.folder / "import.json"
    listed.write_text(json.dumps(rows))
    paths = {each.name: str(each.path) for each in chosen}
    walk.mirrors[name] = {}
    for row in environment.json("mirror", "import", str(listed)):
        bare = row["name"].partition("/")[2]
        walk.mirrors[name][bare] = row["repository"]
        walk.journal.note(
            "mirror", environment=name, name=bare, upstream=paths[bare], mirror=row["repository"]
        )


def write_chatops_file(walk: Walk) -> None:
    """Tell production where the other environments are, and how to be let in."""
    entries = {}
    for name in ENVIRONMENTS[:-1]:
        environment = walk.environments[name]
        issued = environment.manage("token", "issue", "chatops@production", "--scope", "chatops")
        token = environment.folder / "token"
        token.touch(mode=0o600)
        token.write_text(issued.stdout.strip())
        entries[name] = {"url": environment.web, "token_file": str(token)}
    content = {
        "environments": entries,
        "repository": {"path": str(walk.builds.path)},
        "slack": {**CHANNELS},
    }
    walk.chatops_file.write_text(yaml.safe_dump(content))


def _write_plan(walk: Walk) -> None:
    record = {
        "seed": walk.plan.seed,
        "mirrors": walk.plan.mirrors,
        "capacity": CAPACITY,
        "seconds": walk.plan.seconds,
        "builds": str(walk.builds.path),
        "before": walk.builds.before,
        "feature": walk.builds.feature,
        "environments": {
            name: {
                "web": environment.web,
                "flower": environment.flower,
                "database": environment.variables.get(
                    "DATABASE_URL", f"sqlite:///{environment.state}/db.sqlite3"
                ),
            }
            for name, environment in walk.environments.items()
        },
    }
    (walk.folder / "plan.json").write_text(json.dumps(record, indent=1))
