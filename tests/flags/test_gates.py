"""What holds back turning on. Each gate refuses, says what it checked, can be overridden, and never holds back off."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from mirroring.flags.changes import FlagRefused
from mirroring.flags.models import Flag
from mirroring.flags.readings import read_all
from mirroring.models import ChangeFreeze, FlagChange
from mirroring.tracker.connection import connect
from tests.trial import FIRST, SECOND

HOUR = timedelta(hours=1)
pytestmark = pytest.mark.django_db


def refusal(turn, name, **options) -> str:
    with pytest.raises(FlagRefused) as refused:
        turn(name, True, **options)
    assert not read_all()[name]
    return str(refused.value)


def on_for(name, span: timedelta) -> None:
    Flag.objects.filter(name=name).update(on_since=datetime.now(tz=UTC) - span)


@pytest.fixture
def source() -> Iterator[dict]:
    """A source of incidents that answers with what a test puts into it."""
    said: dict = {"status": 200, "body": {"incidents": []}, "asked": []}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            said["asked"].append(self.headers.get("Authorization"))
            body = json.dumps(said["body"]).encode()
            self.send_response(said["status"])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    said["url"] = f"http://127.0.0.1:{server.server_port}/"
    yield said
    server.shutdown()
    thread.join()
    server.server_close()


# -- requires, stable -----------------------------------------------------------------------------------------------


def test_the_second_flag_waits_until_the_first_is_on_and_stable(turn):
    assert refusal(turn, SECOND) == (
        f"{SECOND} was not turned on: it requires {FIRST}, which is off (gate requires, gate stable). "
        "See to it, or go on with --override requires --override stable"
    )

    turn(FIRST, True)
    on_for(FIRST, 23 * HOUR)
    text = refusal(turn, SECOND)
    assert "has been on for 23 h of the 1 d that count as stable (gate stable)" in text
    assert "gate requires" not in text

    on_for(FIRST, 25 * HOUR)
    turn(SECOND, True)
    assert read_all()[SECOND]


def test_off_and_on_again_starts_the_time_anew_and_on_again_does_not(turn):
    turn(FIRST, True)
    on_for(FIRST, 25 * HOUR)
    turn(FIRST, True)
    assert Flag.objects.get(name=FIRST).on_since < datetime.now(tz=UTC) - 24 * HOUR

    turn(FIRST, False)
    turn(FIRST, True)

    assert "gate stable" in refusal(turn, SECOND)


def test_a_flag_in_a_rollout_is_not_stable_however_long(turn):
    turn(FIRST, True, on_until=datetime.now(tz=UTC) + HOUR)
    on_for(FIRST, 48 * HOUR)

    assert "in the middle of a guarded rollout (gate stable)" in refusal(turn, SECOND)


def test_a_required_flag_whose_lease_has_ended_is_off(turn):
    turn(FIRST, True, on_until=datetime.now(tz=UTC) + HOUR)
    Flag.objects.filter(name=FIRST).update(on_until=datetime.now(tz=UTC) - HOUR)

    assert "gate requires" in refusal(turn, SECOND)


# -- expired, freeze, incident --------------------------------------------------------------------------------------


def test_a_flag_whose_life_is_over_is_not_turned_on(turn, define):
    name = define("old", milestone="0.0", intended_end="0.0")

    assert "its life ended with milestone 0.0, and this is 0.1: clean it up (gate expired)" in refusal(
        turn, name
    )


def test_a_change_freeze_holds_back_until_it_is_over(turn):
    ChangeFreeze.begin("moving house", by="eve", now=datetime.now(tz=UTC))
    assert "moving house (eve) (gate freeze)" in refusal(turn, FIRST)

    assert ChangeFreeze.end(by="eve", now=datetime.now(tz=UTC))

    turn(FIRST, True)


def test_an_open_incident_holds_back_and_one_that_is_over_does_not(turn, source, settings):
    settings.INCIDENTS_URL, settings.INCIDENTS_TOKEN = source["url"], "secret"
    source["body"] = {"incidents": [{"id": "I-7", "title": "disk full"}, {"id": "I-6", "open": False}]}

    text = refusal(turn, FIRST)

    assert "open now: I-7 disk full (gate incident)" in text
    assert "I-6" not in text
    assert source["asked"][0] == "Bearer secret"
    source["body"] = {"incidents": []}
    turn(FIRST, True)


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, {"incidents": []}), (200, []), (200, {"nothing": 1}), (200, {"incidents": ["x"]})],
)
def test_a_source_of_incidents_that_cannot_be_asked_holds_back(turn, source, settings, status, body):
    settings.INCIDENTS_URL = source["url"]
    source |= {"status": status, "body": body}

    assert "the source of incidents cannot be asked" in refusal(turn, FIRST)


def test_a_source_may_declare_a_freeze(turn, source, settings):
    settings.INCIDENTS_URL = source["url"]
    source["body"] = {"incidents": [], "change_freeze": "end of the year"}

    assert "change freeze: end of the year (gate incident)" in refusal(turn, FIRST)


# -- deployed -------------------------------------------------------------------------------------------------------


def test_a_live_worker_of_an_older_build_holds_back(turn):
    tracker = connect()
    tracker.announce("imports@new", slots=1, flags={str(FIRST): False}, life=HOUR)
    tracker.announce("imports@old", slots=1, flags={"another": False}, life=HOUR)

    assert "not deployed everywhere: imports@old run a build without this flag (gate deployed)" in refusal(
        turn, FIRST
    )

    tracker.leave("imports@old")
    turn(FIRST, True)


def test_whether_it_is_deployed_is_not_known_while_redis_is_down(turn, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    connect.cache_clear()
    try:
        assert "Redis does not answer (gate deployed)" in refusal(turn, FIRST)

        turn(FIRST, True, overrides={"deployed"})
        assert read_all()[FIRST]
        turn(FIRST, False)
        assert not read_all()[FIRST]
    finally:
        connect.cache_clear()


# -- overriding, and what is never held back ------------------------------------------------------------------------


def test_a_refusal_names_every_gate_in_the_way_and_how_to_go_on(turn):
    ChangeFreeze.begin("moving house", by="eve", now=datetime.now(tz=UTC))

    text = refusal(turn, SECOND)

    assert text.endswith("--override requires --override stable --override freeze")


def test_an_override_opens_its_own_gate_only_and_is_kept(turn):
    assert "gate stable" in refusal(turn, SECOND, overrides={"requires"})

    turn(SECOND, True, overrides={"requires", "stable", "freeze"}, why="a trial")

    entry = FlagChange.objects.first()
    assert sorted(entry.overrides) == ["requires", "stable"]  # The freeze was no obstacle.
    outcomes = {gate["gate"]: gate["outcome"] for gate in entry.gates}
    assert outcomes["requires"] == outcomes["stable"] == "overridden"
    assert outcomes["freeze"] == outcomes["expired"] == outcomes["deployed"] == "passed"
    assert all(gate["checked"] for gate in entry.gates)


def test_a_gate_that_does_not_exist_cannot_be_overridden(turn):
    assert "There is no gate named requries" in refusal(turn, SECOND, overrides={"requries"})


def test_turning_off_asks_no_gate(turn, settings, define):
    name = define("old", milestone="0.0", intended_end="0.0", actor="mirror")
    turn(name, percentage=50, overrides={"all"})
    turn(SECOND, True, overrides={"all"})
    ChangeFreeze.begin("moving house", by="eve", now=datetime.now(tz=UTC))
    settings.INCIDENTS_URL = "http://127.0.0.1:1/"
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    connect.cache_clear()
    try:
        assert turn(SECOND, False).gates == []
        assert turn(name, percentage=10).gates == []  # Less is off for some.
        assert turn(name, False).gates == []
        with pytest.raises(FlagRefused, match="gate freeze"):
            turn(name, percentage=1)
    finally:
        connect.cache_clear()


def test_more_actors_ask_the_gates_and_fewer_do_not(turn, define):
    name = define("per_host", actor="host")
    turn(name, actors_add=("host:a", "host:b"))
    ChangeFreeze.begin("moving house", by="eve", now=datetime.now(tz=UTC))

    with pytest.raises(FlagRefused, match="gate freeze"):
        turn(name, actors_add=("host:c",))
    turn(name, actors_remove=("host:a",))

    assert Flag.objects.get(name=name).actors == ["host:b"]
