"""The real stack, as a person starts it. One is shared by the tests that leave it as it was."""

import os
import shutil
import signal
import socket
import stat
import tempfile
from pathlib import Path

import psutil
import pytest
import redis

from tests.stack.running import RunningStack, environment, manage

one_database = pytest.mark.one_database  # has a database of its own, whatever the run has
NAMES = ["valkey", "web", "control", "scheduling", "checks", "imports", "beat", "flower"]


@pytest.fixture(scope="module")
def place():
    folder = Path(tempfile.mkdtemp(prefix="up-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def stack(place):
    running = RunningStack(place / "shared").wait_until_up()
    yield running
    running.abandon()


@one_database
def test_it_says_where_things_are_how_to_sign_in_and_what_to_type_next(stack):
    said = stack.said()

    assert f"http://127.0.0.1:{stack.env['WEB_PORT']}/admin/   user admin, password: cat " in said
    assert f"http://127.0.0.1:{stack.env['FLOWER_PORT']}" in said
    assert "manage.py mirror add https://HOST/PATH.git" in said
    assert (stack.state / "admin_password").read_text().strip() not in said


@one_database
def test_the_card_names_every_process_and_is_private(stack):
    card = stack.card()

    assert list(card["pids"]) == NAMES
    assert all(psutil.pid_exists(pid) for pid in card["pids"].values())
    assert stat.S_IMODE((stack.state / "stack.json").stat().st_mode) == 0o600
    assert stack.get("/-/readyz")[0] == 200


@one_database
def test_no_password_is_in_any_command_line(stack):
    secrets = [(stack.state / name).read_text().strip() for name in ("admin_password", "flower_password")]
    secrets.append(stack.card()["redis_url"].split("@")[0].split(":")[-1])

    commands = " ".join(word for process in stack.family() for word in process.cmdline())

    assert not [secret for secret in secrets if secret in commands]


@one_database
def test_a_command_in_another_terminal_finds_the_running_redis(stack):
    env = {name: value for name, value in stack.env.items() if name != "REDIS_URL"}

    done = manage("mirror", "list", "--json", env=env)

    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[]", "")


@one_database
def test_a_command_in_another_terminal_allows_the_private_upstreams_that_the_stack_was_given(stack):
    kept = {name: value for name, value in stack.env.items() if name != "ALLOW_PRIVATE_UPSTREAMS"}
    add = ("mirror", "add", "http://127.0.0.1:1025/group/private.git")

    refused = manage(*add, env=kept | {"ALLOW_PRIVATE_UPSTREAMS": ""})
    added = manage(*add, env=kept)

    assert "stop the stack and start it with ALLOW_PRIVATE_UPSTREAMS=127.0.0.1/32" in refused.stderr
    assert (added.returncode, added.stderr) == (0, "")
    assert manage("mirror", "remove", "private", env=kept).returncode == 0


@one_database
def test_a_killed_worker_comes_back_and_the_card_tells_its_new_number(stack):
    before = stack.card()["pids"]["imports"]

    os.kill(before, signal.SIGKILL)

    stack.until(lambda: stack.card()["pids"].get("imports", before) != before)
    assert "imports ended (killed by SIGKILL); it starts again in" in stack.said()


@one_database
def test_a_killed_valkey_comes_back_at_the_same_address(stack):
    url, before = stack.card()["redis_url"], stack.card()["pids"]["valkey"]

    os.kill(before, signal.SIGKILL)

    stack.until(lambda: stack.card()["pids"].get("valkey", before) != before)
    assert stack.card()["redis_url"] == url
    with redis.Redis.from_url(url) as client:
        stack.until(lambda: answers(client))


def answers(client):
    try:
        return client.ping()
    except redis.RedisError:
        return False


@one_database
def test_a_second_stack_on_the_same_folder_is_refused_in_one_line(stack):
    done = manage("up", env=environment(stack.state))

    assert done.returncode == 1
    assert f"A stack already runs on {stack.state} (process {stack.process.pid})" in done.stderr
    assert done.stderr.count("\n") == 1
    assert stack.get("/-/livez")[0] == 200


@one_database
@pytest.mark.parametrize("variable", ["WEB_PORT", "FLOWER_PORT"])
def test_a_taken_port_gives_one_line_with_its_number_and_variable(place, variable):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        done = manage("up", env=environment(place / "taken", **{variable: str(port)}))

    assert done.returncode == 1
    assert f"Port {port} on 127.0.0.1" in done.stderr
    assert f"{variable}=NUMBER" in done.stderr
    assert done.stderr.count("\n") == 1


@one_database
def test_a_list_that_does_not_exist_is_refused_before_anything_starts(place):
    done = manage("up", "--mirrors", "/no/such/list", env=environment(place / "nolist"))

    assert done.returncode == 1
    assert "There is no file /no/such/list" in done.stderr
    assert done.stderr.count("\n") == 1


@one_database
def test_a_list_that_cannot_be_used_is_refused_before_anything_starts(place):
    listed, state = place / "bad", place / "badlist"
    listed.write_text("https://git.example.org/group/first.git\nnonsense\nhttp://10.0.0.7/x/y\n")

    done = manage("up", "--mirrors", str(listed), env=environment(state), timeout=30)

    assert (done.returncode, done.stdout) == (1, "")
    assert f"{listed}:2: 'nonsense' has no scheme" in done.stderr
    assert f"{listed}:3: 10.0.0.7 is not on the public Internet" in done.stderr
    assert not (state / "logs").exists()


@one_database
def test_a_list_whose_names_are_taken_ends_the_start(place):
    listed, state = place / "taken-names", place / "names"
    listed.write_text("https://git.example.org/group/first.git\n")
    env = environment(state)
    for words in (("migrate",), ("mirror", "add", "https://git.example.org/other/first.git")):
        assert manage(*words, env=env).returncode == 0

    done = manage("up", "--mirrors", str(listed), env=env, timeout=30)

    assert done.returncode == 1
    assert f"{listed}:1: default/first is taken" in done.stderr
    assert "The stack is up" not in done.stdout


@one_database
def test_ctrl_c_ends_also_a_stack_that_a_shell_has_started_in_the_background(place):
    # A shell without job control has SIGINT ignored by what it starts with "&".
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        running = RunningStack(place / "background")
    finally:
        signal.signal(signal.SIGINT, before)
    with running.wait_until_up():
        assert running.ask_to_stop(signal.SIGINT) < 15


@one_database
def test_a_database_that_does_not_answer_gives_one_line(place):
    url = "postgresql://nobody@127.0.0.1:1/none"

    done = manage("up", env=environment(place / "nodb", DATABASE_URL=url))

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr


@one_database
def test_a_stop_ends_every_process_and_the_next_start_finds_the_state_again(place):
    listed = place / "list"
    listed.write_text("http://127.0.0.1:1025/group/first.git\nhttp://127.0.0.1:1025/group/second.git\n")
    state = place / "stopped"
    with RunningStack(state, "--mirrors", str(listed)).wait_until_up() as first:
        family, password = first.family(), (state / "admin_password").read_text()

        assert first.ask_to_stop(signal.SIGINT) < 15
        assert first.process.returncode == 0
        assert not [process for process in family if process.is_running()]
        assert not (state / "stack.json").exists()

    with RunningStack(state, "--mirrors", str(listed)).wait_until_up() as second:
        done = manage("mirror", "list", "--json", env=second.env)

        assert done.stdout.count('"clone_url"') == 2
        assert (state / "admin_password").read_text() == password
        assert second.ask_to_stop(signal.SIGTERM) < 15


@one_database
def test_after_a_kill_of_the_stack_itself_nothing_keeps_running_and_the_next_start_works(place):
    state = place / "killed"
    first = RunningStack(state).wait_until_up()
    family = first.family()

    first.process.kill()
    first.process.wait()

    with RunningStack(state).wait_until_up() as second:
        assert not [process for process in family if process.is_running()]
        assert second.get("/-/readyz")[0] == 200


@pytest.mark.django_db(transaction=True)
def test_it_runs_on_the_database_of_the_test_run(place, child_environment):
    url = child_environment()["DATABASE_URL"]

    with RunningStack(place / "database", DATABASE_URL=url).wait_until_up() as running:
        assert running.get("/-/readyz")[0] == 200
        assert "with the same DATABASE_URL as here" in running.said()
