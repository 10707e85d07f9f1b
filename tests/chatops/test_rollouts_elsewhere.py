"""Steps of a rollout that are environments: real deployments, each with its own database, Valkey, workers and beat."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import yaml

from tests.chatops.deployments import Deployment, deployed
from tests.flags import samples
from tests.making import wait_until

pytestmark = pytest.mark.timeout(400)

FLAG = "walked"
EFFECTS = [
    {"metric": "slots_leaked", "direction": "at_most", "bound": 0, "kind": "level"},
    {"metric": "lag_seconds", "direction": "at_most", "bound": 600, "kind": "level"},
]
BASELINE = """
from datetime import UTC, datetime, timedelta
from mirroring.models import MetricSample
MetricSample.objects.all().delete()
for seconds in range(60, 0, -5):
    at = datetime.now(tz=UTC) - timedelta(milliseconds=seconds)
    MetricSample.objects.create(at=at, seconds=5, values={"slots_leaked": 0.0, "lag_seconds": 1.0})
"""


@dataclass(frozen=True)
class Pair:
    """Production, and staging before it."""

    staging: Deployment
    production: Deployment
    tokens: dict[str, str]

    def start(self, *words: str) -> None:
        for each in (self.staging, self.production):
            each.shell(BASELINE)
        self.production.manage("feature", "rollout", "start", FLAG, "--interval", "5s", *words)

    def rollout(self, deployment: Deployment) -> dict:
        return deployment.get(f"flags/{FLAG}/rollout", self.tokens[deployment.name]) or {}

    def flag(self, deployment: Deployment) -> dict:
        return deployment.get(f"flags/{FLAG}", self.tokens[deployment.name])

    def is_on(self, deployment: Deployment) -> bool:
        return self.flag(deployment)["value"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    (folder / "flags").mkdir()
    samples.write(folder / "flags", FLAG, effects=EFFECTS)
    common = {"EXTRA_FLAG_DEFINITIONS": str(folder / "flags")}
    with deployed("staging", folder / "s", **common) as staging:
        (folder / "token").write_text(staging.token("production", "chatops", "read_flags"))
        entry = {"url": staging.web.url, "token_file": str(folder / "token")}
        (folder / "chatops.yml").write_text(yaml.safe_dump({"environments": {"staging": entry}}))
        common["MIRRORING_CHATOPS"] = str(folder / "chatops.yml")
        with deployed("production", folder / "p", **common) as production:
            tokens = {each.name: each.token("test", "read_flags") for each in (staging, production)}
            yield Pair(staging, production, tokens)


@pytest.fixture(scope="module")
def at_work(pair) -> None:
    """Both take samples and drive their rollouts."""
    for each in (pair.staging, pair.production):
        each.start("control", "beat")


@pytest.fixture
def clean(pair) -> Iterator[Pair]:
    yield pair
    for each in (pair.production, pair.staging):
        each.manage("feature", "rollout", "abort", FLAG)
        each.manage("feature", "delete", FLAG)


def test_a_step_begins_in_the_other_deployment_is_followed_there_and_is_turned_off_there(clean):
    clean.start()

    there = clean.rollout(clean.staging)
    assert (there["state"], there["steps"]) == ("running", ["on, here"])
    assert "(token production)" in there["started_by"]
    assert (clean.is_on(clean.staging), clean.is_on(clean.production)) == (True, False)

    clean.production.manage("feature", "rollout", "abort", FLAG, "--why", "enough")
    there = clean.rollout(clean.staging)
    assert (there["state"], there["why"]) == ("aborted", "enough")
    assert not clean.is_on(clean.staging)


def test_what_has_begun_there_is_not_begun_again_and_only_what_is_ours_is_turned_off_there(clean):
    clean.staging.shell(BASELINE)

    def asked(call: str) -> str:
        code = (
            f"from datetime import timedelta as t; from mirroring.rollout.environments import known; {call}"
        )
        return clean.production.shell(code).strip()

    ours, other = ("mark='rollout 7 of production, ada'", "mark='rollout 7 of production, a'")
    begin = f"known().start('staging', '{FLAG}', interval=t(minutes=5), {ours})"
    off = f"known().turn_off('staging', '{FLAG}', by='ada', why='enough', %s)"
    asked(begin)
    asked(begin)
    assert asked(f"print(known().state('staging', '{FLAG}', {ours}))") == "running"
    assert asked(f"print(known().state('staging', '{FLAG}', {other}))") == "None"

    asked(off % other)
    assert clean.is_on(clean.staging)
    asked(off % ours)
    assert not clean.is_on(clean.staging)


def test_a_deployment_that_refuses_its_step_leaves_no_rollout_here(clean):
    for each in (clean.staging, clean.production):
        each.shell(BASELINE)
    clean.staging.manage("feature", "freeze", "--why", "the quarter ends")
    try:
        refused = clean.production.manage("feature", "rollout", "start", FLAG, check=False)
    finally:
        clean.staging.manage("feature", "thaw")

    assert refused.returncode == 1
    assert "staging: " in refused.stderr
    assert "a change freeze holds" in refused.stderr
    assert clean.rollout(clean.production).get("state") in {None, "aborted"}


@pytest.mark.long
def test_it_goes_through_staging_and_then_production_and_stays_on_in_both(at_work, clean):
    clean.start()

    wait_until(lambda: clean.is_on(clean.production), seconds=90, what="staging came through")
    assert clean.rollout(clean.staging)["state"] == "done"
    wait_until(lambda: clean.rollout(clean.production)["state"] == "done", seconds=90, what="and production")
    for each in (clean.staging, clean.production):
        found = clean.flag(each)
        assert (found["value"], found["on_until"]) == (True, None)


@pytest.mark.long
def test_a_breach_in_staging_takes_it_back_and_production_never_has_it(at_work, clean):
    clean.start()
    client = clean.staging.client()

    def rolled_back() -> bool:
        client.hincrby("{mirroring}:counters", "repaired_slots", 1)
        return clean.rollout(clean.staging)["state"] == "rolled back"

    wait_until(rolled_back, seconds=60, what="the guard in staging takes it back")
    wait_until(lambda: clean.rollout(clean.production)["state"] == "rolled back", seconds=60)
    here = clean.rollout(clean.production)

    assert "its rollout in staging ended as rolled back" in here["why"]
    # It is measured when every live process has been seen to read the flag as off.
    wait_until(lambda: clean.rollout(clean.staging)["rollback_seconds"] is not None, seconds=30)
    assert clean.rollout(clean.staging)["rollback_seconds"] < 5
    changes = clean.production.get(f"flags/{FLAG}/audit", clean.tokens["production"])
    assert [entry["after"]["on"] for entry in changes if entry["at"] > here["started_at"]] == [False]
    assert not clean.is_on(clean.staging)
