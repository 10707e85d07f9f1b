"""Two real deployments, each with its own database, Valkey and build, driven from one place."""

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml

from mirroring.chatops import grammar
from tests.chatops.deployments import manage
from tests.making import wait_until
from tests.trial import FIRST, SECOND

HERE = "ops"


@contextlib.contextmanager
def hanging(ends: Callable[[], bool]) -> Iterator[str]:
    """Serve a deployment that takes a command, and answers it only when something has happened or no more will."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            text = "it had happened before this answer"
            try:
                wait_until(ends, seconds=15)
            except AssertionError:
                text = "nothing happened before this answer"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"ok": True, "text": text}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def test_production_is_meant_where_no_environment_is_named(world):
    world.chatops("feature", "set", FIRST, "true", "--why", "t", "--override", "staging", check=True)

    assert world.flag("production", FIRST)["value"] is True
    assert world.flag("staging", FIRST)["value"] is False


def test_the_command_line_runs_it_in_several_environments_in_the_order_of_a_rollout(world):
    done = world.production.manage(
        "chatops", "run", "feature", "set", FIRST, "true", "--production", "--staging", "--why", "t"
    )

    assert done.stdout.splitlines()[:2] == [f"staging: {FIRST} is now on.", f"production: {FIRST} is now on."]
    assert world.flag("staging", FIRST)["value"] is world.flag("production", FIRST)["value"] is True
    wrong = world.production.manage("chatops", "run", "feature", "st", FIRST, check=False)
    assert wrong.returncode == 2
    assert "invalid choice: 'st'" in wrong.stderr


def test_the_audit_there_says_who_typed_it_here(world):
    world.chatops("feature", "set", FIRST, "true", "--staging", "--why", "QA first", check=True)

    entry = world.staging.get(f"flags/{FIRST}/audit", world.tokens["staging"])[0]
    assert entry["by"] == "cli:ada (token ops)"
    assert (entry["origin"], entry["why"]) == ("chatops", "QA first")


def test_what_is_off_in_staging_is_not_turned_on_in_production(world):
    refused = world.chatops("feature", "set", FIRST, "true", "--why", "t")["production"]

    assert not refused.ok
    assert "in staging it is off (gate staging)" in refused.text
    assert world.flag("production", FIRST)["value"] is False

    world.chatops("feature", "set", FIRST, "true", "--staging", check=True)
    world.chatops("feature", "set", FIRST, "true", "--production", "--why", "t", check=True)
    assert world.flag("production", FIRST)["value"] is True


def test_an_environment_that_refuses_keeps_the_later_ones_from_being_turned_on(world):
    answers = world.chatops(
        "feature", "set", FIRST, "true", "--dev", "--staging", "--production", "--why", "t"
    )

    assert "Nothing is known to be done: it does not answer" in answers["dev"].text
    assert not any(answer.ok for answer in answers.values())
    assert answers["staging"].text == answers["production"].text == "Not done, because dev refused"
    assert world.flag("staging", FIRST)["value"] is world.flag("production", FIRST)["value"] is False


def test_an_environment_that_is_not_configured_refuses_the_whole_command(world):
    answers = world.chatops("feature", "set", FIRST, "true", "--staging", "--canary")

    assert not any(answer.ok for answer in answers.values())
    assert "No environment canary is configured" in answers["canary"].text
    assert answers["staging"].text == "Not done, because canary is not configured"
    assert world.flag("staging", FIRST)["value"] is False


@pytest.mark.parametrize("off", [["set", FIRST, "false"], ["delete", FIRST], ["set", FIRST, "0", "--actors"]])
def test_what_turns_off_goes_everywhere_whoever_refuses(world, off):
    world.chatops("feature", "set", FIRST, "true", "--staging", check=True)

    answers = world.chatops("feature", *off, "--dev", "--staging", "--canary")

    assert [answers[name].ok for name in ("dev", "canary")] == [False, False]
    assert "Not done" not in answers["staging"].text
    if "--actors" not in off:
        assert world.flag("staging", FIRST)["value"] is False


@pytest.mark.parametrize("place", ["production", "staging"])
def test_what_turns_off_waits_for_no_environment_that_hangs(world, tmp_path, place):
    """Typed in production: neither it nor one that is elsewhere waits for dev, which comes before them."""
    world.chatops("feature", "set", FIRST, "true", "--staging", "--production", "--why", "t", check=True)
    configured = yaml.safe_load((world.file.parent / "chatops.yml").read_text())

    with hanging(lambda: world.flag(place, FIRST)["value"] is False) as url:
        configured["environments"]["dev"]["url"] = url
        (tmp_path / "chatops.yml").write_text(yaml.safe_dump(configured))
        production = world.production.environment | {"MIRRORING_CHATOPS": str(tmp_path / "chatops.yml")}
        words = ["feature", "set", FIRST, "false", "--dev", "--staging", "--production"]
        done = manage(production, "chatops", "run", *words, check=False)

    said = done.stdout.splitlines()
    assert said[0] == "dev: it had happened before this answer", done.stdout + done.stderr
    assert [line.partition(":")[0] for line in said if ": " in line] == ["dev", "staging", "production"]


def test_what_is_read_is_read_everywhere_it_can_be(world):
    answers = world.chatops("feature", "get", FIRST, "--dev", "--staging", "--canary")

    assert [answers[name].ok for name in ("dev", "staging", "canary")] == [False, True, False]


def test_a_flag_is_deleted_from_all_environments(world):
    world.chatops("feature", "set", FIRST, "true", "--staging", "--production", "--why", "t", check=True)

    world.chatops("feature", "delete", FIRST, "--staging", "--production", check=True)

    assert world.flag("staging", FIRST)["set"] is world.flag("production", FIRST)["set"] is False


def test_flags_of_another_deployment_are_listed_as_its_own(world):
    answer = world.chatops("feature", "list", "--match", "second", "--staging", check=True)["staging"]

    assert SECOND in answer.text
    assert [flag["name"] for flag in answer.data] == [SECOND]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["feature", "set", FIRST], "the following arguments are required: true|false|PERCENT"),
        (["feature", "set", FIRST, "maybe"], "'maybe' is neither true nor false nor a percentage"),
        (["feature", "list", "--mars"], "unrecognized arguments: --mars"),
        (["feature", "set", FIRST, "true", "--sta"], "unrecognized arguments: --sta"),
        ([], "the following arguments are required"),
    ],
)
def test_words_that_are_no_command_do_nothing_and_say_what_would_be_one(words, said):
    from mirroring.chatops.acts import EVERY

    names, rest = grammar.targets(words)

    assert names == ["production"]
    with pytest.raises(grammar.Usage) as usage:
        grammar.parse(rest, EVERY)
    assert said in str(usage.value)


def test_environments_are_taken_out_of_the_words_and_put_in_order():
    names, rest = grammar.targets(["feature", "set", "x", "--production", "true", "--dev", "--why", "dev"])

    assert names == ["dev", "production"]
    assert rest == ["feature", "set", "x", "true", "--why", "dev"]


def test_what_phones_make_of_dashes_and_quotes_is_turned_back():
    typed = "feature set x true \u2014dev \u2014why \u201call is well\u201d"

    assert grammar.split(typed) == ["feature", "set", "x", "true", "--dev", "--why", "all is well"]


def test_auto_deploy_status_tells_deployed_from_absent_and_from_unknown(world):
    def verdicts(commit):
        [answer] = world.chatops("auto_deploy", "status", commit).values()
        return {one["environment"]: one["verdict"] for one in answer.data if one["environment"] != HERE}

    first, second, third, fourth, beside = world.commits
    assert verdicts(first) == {"dev": "unknown", "staging": "deployed", "production": "deployed"}
    assert verdicts(third[:10]) == {"dev": "unknown", "staging": "deployed", "production": "absent"}
    assert verdicts(fourth) == {"dev": "unknown", "staging": "absent", "production": "absent"}
    assert verdicts(beside)["production"] == "absent"
    assert verdicts(second)["production"] == "deployed"
    assert set(verdicts("f" * 40).values()) == {"unknown"}


def test_auto_deploy_status_without_a_commit_lists_what_runs_where(world):
    [answer] = world.chatops("auto_deploy", "status").values()
    lines = {line.split()[0]: line for line in answer.text.splitlines()}

    assert world.commits[2][:12] in lines["staging"]
    assert world.commits[1][:12] in lines["production"]
    assert "it does not answer" in lines["dev"]


def test_off_is_off_also_in_a_deployment_whose_redis_is_down(world):
    world.chatops("feature", "set", FIRST, "true", "--staging", check=True)
    os.kill(world.staging.redis.pid, signal.SIGSTOP)
    try:
        world.chatops("feature", "set", FIRST, "false", "--staging", check=True)
        refused = world.chatops("feature", "set", FIRST, "true", "--staging")["staging"]
    finally:
        os.kill(world.staging.redis.pid, signal.SIGCONT)

    assert "gate deployed" in refused.text
    assert world.flag("staging", FIRST)["value"] is False
    verdict = world.staging.get("flags/audit/verdict", world.tokens["staging"])
    assert json.dumps(verdict["faults"]) == "[]"
