"""What rollouts and changes tell: real posts to a double that speaks Slack's wire format."""

import time

import pytest
import yaml
from django.core.management import call_command

from tests.chatops import slack_double
from tests.flags.ways import open_way
from tests.trial import FIRST

pytestmark = pytest.mark.django_db
CHANNELS = {"production_channel": "CPROD", "support_channel": "CSUPPORT"}
TEAM = "#g_scalability"


@pytest.fixture
def slack(settings, tmp_path):
    from mirroring.chatops import configuration

    (tmp_path / "chatops.yml").write_text(yaml.safe_dump({"slack": CHANNELS}))
    settings.CHATOPS_FILE = str(tmp_path / "chatops.yml")
    configuration._read.cache_clear()
    settings.STATIC_ROOT.mkdir(exist_ok=True)
    with slack_double.serve() as double:
        settings.SLACK_BOT_TOKEN, settings.SLACK_API_URL = slack_double.TOKEN, double.api
        yield double


def told(slack) -> dict[str, str]:
    return {post["channel"]: post["text"] for post in slack.posted}


def wait_for_post(slack) -> dict[str, str]:
    deadline = time.monotonic() + 10
    while not slack.posted:
        assert time.monotonic() < deadline, "nothing was posted"
        time.sleep(0.02)
    return slack.posted[-1]


def plan(flag, course) -> dict:
    from mirroring.rollout import plan as planning

    return {line.item.key: line for line in planning.plan(flag, now=course.at(1))}


def test_a_rollout_tells_three_channels_when_it_is_expected_and_the_plan_has_the_evidence(course, slack):
    rollout = course.start(interval=900)
    expected = f"{course.at(900):%Y-%m-%dT%H:%MZ}"

    begun = [post for post in slack.posted if "begun" in post["text"]]
    assert {post["channel"] for post in begun} == {TEAM, "CPROD", "CSUPPORT"}
    assert all(expected in post["text"] for post in begun)
    lines = plan(FIRST, course)
    for item, channel in (("team", TEAM), ("production", "CPROD"), ("support", "CSUPPORT")):
        line = lines[f"announced_{item}"]
        assert (line.done, line.by, line.item.human) == (True, f"rollout {rollout.pk}", False)
        assert line.evidence.startswith(f"{expected} told in {channel}, message 1503435956.000247")
        assert line.at is not None


def test_the_steps_of_a_rollout_do_not_trouble_support(course, slack):
    course.start()
    slack.posted.clear()
    course.samples(6, 62)
    course.drive(62)

    assert {post["channel"] for post in slack.posted} == {TEAM, "CPROD"}


def test_what_slack_did_not_take_is_not_ticked(course, slack):
    slack.refuse = "channel_not_found"
    course.start()

    assert not plan(FIRST, course)["announced_team"].done


def test_it_is_announced_ahead_in_three_channels_and_the_plan_has_the_evidence(course, slack, capsys):
    when = f"{course.at(7200):%Y-%m-%dT%H:%MZ}"
    call_command("feature", "announce", FIRST, "--at", when)

    assert {post["channel"] for post in slack.posted} == {TEAM, "CPROD", "CSUPPORT"}
    assert all(f"{FIRST} is expected to be turned on" in post["text"] for post in slack.posted)
    assert all(when in post["text"] for post in slack.posted)
    line = plan(FIRST, course)["announced_support"]
    assert line.done
    assert line.evidence.startswith(f"{when} told in CSUPPORT, message ")
    assert "[x] announced_production" in capsys.readouterr().out
    assert not course.on()


def test_what_slack_did_not_take_is_named_when_it_is_announced_ahead(course, slack, capsys):
    slack.refuse = "channel_not_found"
    with pytest.raises(SystemExit):
        call_command("feature", "announce", FIRST, "--at", f"{course.at(7200):%Y-%m-%dT%H:%MZ}")

    assert "[ ] announced_team: not told" in capsys.readouterr().err
    assert not plan(FIRST, course)["announced_team"].done


@pytest.mark.parametrize(
    ("when", "says"),
    [
        ("soon", "no time"),
        ("9999-12-31T23:59-23:00", "no time"),
        ("2020-01-01T00:00Z", "is over"),
        ("2100-01-01T00:00", "end it"),
    ],
)
def test_only_a_time_that_is_to_come_and_means_one_moment_is_announced(when, says, course, slack, capsys):
    with pytest.raises(SystemExit):
        call_command("feature", "announce", FIRST, "--at", when)

    assert says in capsys.readouterr().err
    assert slack.posted == []


def test_a_shadow_rollout_announces_nothing_to_be_expected(course, slack):
    course.start(shadow=True)

    assert "CSUPPORT" not in told(slack)
    assert not plan(FIRST, course)["announced_team"].done


@pytest.mark.parametrize("way", ["admin", "cli", "api"])
def test_a_change_by_form_command_or_api_is_told_to_the_team(way, slack, client):
    assert open_way(way, client).set(FIRST, True, why="QA was good").ok

    post = wait_for_post(slack)
    assert post["channel"] == TEAM
    assert f"`{FIRST}` off -> on" in post["text"]
    assert "QA was good" in post["text"]


def test_a_command_of_chatops_from_the_shell_is_told_with_its_result(slack, client, settings):
    settings.ENVIRONMENT = "production"
    assert open_way("chatops", client).set(FIRST, True).ok

    [post] = slack.posted
    assert post["channel"] == TEAM
    assert f"feature set {FIRST} true" in post["text"]
    assert f"{FIRST} is now on." in post["text"]


def test_that_slack_is_away_neither_undoes_nor_holds_up_a_change(settings, client, tmp_path):
    settings.STATIC_ROOT.mkdir(exist_ok=True)
    settings.SLACK_BOT_TOKEN, settings.SLACK_API_URL = slack_double.TOKEN, "http://127.0.0.1:9/api/"
    began = time.monotonic()

    assert open_way("api", client).set(FIRST, True).ok
    assert time.monotonic() - began < 3
