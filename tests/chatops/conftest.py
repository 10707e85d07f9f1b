import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests import trial
from tests.chatops import slack_double
from tests.chatops.deployments import Deployment, deployed

ROLES = {
    "production_channel": "CPROD",
    "channels": ["CDEV"],
    "users": {"U1": "operator", "U2": "viewer"},
    "everyone": "none",
}
FLAGS = (trial.SECOND, trial.FIRST)


@dataclass(frozen=True)
class World:
    """Two deployments, the history that their builds come from, and Slack."""

    staging: Deployment
    production: Deployment
    slack: slack_double.Double
    commits: list[str]
    tokens: dict[str, str]
    file: Path

    def chatops(self, *words: str, check: bool = False) -> dict[str, Any]:
        """Run a command in this process, which is none of the deployments, and return what each answered."""
        from mirroring.chatops import running
        from mirroring.chatops.act import Caller
        from mirroring.flags.changes import Origin

        found = running.run(words, caller=Caller("cli:ada", Origin.CHATOPS))
        answers = {result.environment: result.answer for result in found}
        assert not check or all(answer.ok for answer in answers.values()), answers
        return answers

    def flag(self, environment: str, name: str) -> dict[str, Any]:
        """Ask a deployment for a flag."""
        return getattr(self, environment).get(f"flags/{name}", self.tokens[environment])

    def slash(
        self, text: str, *, user: str = "U1", channel: str = "CPROD", **headers: str
    ) -> requests.Response:
        """Send a slash command, signed, as Slack does."""
        body = slack_double.form(text, user=user, channel=channel, response_url=self.slack.response_url)
        return self.send(body, {**slack_double.signed(body), **headers})

    def send(self, body: bytes, headers: dict[str, str]) -> requests.Response:
        return requests.post(
            f"{self.production.web.url}/chatops/slack", data=body, headers=headers, timeout=20
        )


@pytest.fixture(scope="session")
def history(tmp_path_factory) -> tuple[Path, list[str]]:
    """A repository with four commits in a row and one beside them."""
    folder = tmp_path_factory.mktemp("history")

    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        return subprocess.run(
            ["git", "-C", folder, *identity, *words], check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q", "-b", "main")
    commits = []
    for number in range(4):
        git("commit", "-q", "--allow-empty", "-m", str(number))
        commits.append(git("rev-parse", "HEAD"))
    git("checkout", "-q", "-b", "side", commits[0])
    git("commit", "-q", "--allow-empty", "-m", "beside")
    return folder, [*commits, git("rev-parse", "HEAD")]


@pytest.fixture(scope="session")
def whole_world(tmp_path_factory, history) -> Iterator[World]:
    """Staging runs the third commit, production the second; dev is configured and down."""
    repository, commits = history
    folder = tmp_path_factory.mktemp("w")
    (folder / "gone").write_text("mrapi_nothing")
    with (
        slack_double.serve() as slack,
        deployed("staging", folder / "s", MIRRORING_REVISION=commits[2]) as staging,
    ):
        tokens = {"staging": staging.token("ops", "chatops", "write_flags")}
        (folder / "staging").write_text(tokens["staging"])
        configuration = {
            "environments": {
                "dev": {"url": "http://127.0.0.1:1", "token_file": str(folder / "gone")},
                "staging": {"url": staging.web.url, "token_file": str(folder / "staging")},
            },
            "repository": {"path": str(repository)},
            "slack": ROLES,
        }
        (folder / "chatops.yml").write_text(yaml.safe_dump(configuration))
        variables = {
            "MIRRORING_REVISION": commits[1],
            "MIRRORING_CHATOPS": str(folder / "chatops.yml"),
            "SLACK_SIGNING_SECRET": slack_double.SECRET,
            "SLACK_BOT_TOKEN": slack_double.TOKEN,
            "SLACK_API_URL": slack.api,
            "SLACK_RESPONSE_URL": slack.url,
        }
        with deployed("production", folder / "p", **variables) as production:
            tokens["production"] = production.token("ops", "chatops", "write_flags")
            (folder / "production").write_text(tokens["production"])
            configuration["environments"]["production"] = {
                "url": production.web.url,
                "token_file": str(folder / "production"),
            }
            (folder / "ops.yml").write_text(yaml.safe_dump(configuration))
            yield World(staging, production, slack, commits, tokens, folder / "ops.yml")


@pytest.fixture
def world(whole_world, settings) -> Iterator[World]:
    """The world, with everything put back afterwards. This process is a place of its own called ops."""
    settings.ENVIRONMENT = "ops"
    settings.CHATOPS_FILE = str(whole_world.file)
    whole_world.slack.posted.clear()
    whole_world.slack.late.clear()
    whole_world.slack.refuse = ""
    yield whole_world
    for name in ("production", "staging"):
        url, headers = getattr(whole_world, name).web.url, {"PRIVATE-TOKEN": whole_world.tokens[name]}
        for flag in FLAGS:
            requests.delete(f"{url}/api/v4/features/{flag}", headers=headers, timeout=15).raise_for_status()
