import os
import shutil
import signal
import stat
import time

import psutil
import pytest
import redis

from mirroring.stack import valkey
from mirroring.stack.errors import StackError

pytestmark = pytest.mark.one_database


@pytest.fixture
def folder(tmp_path_factory):
    import tempfile
    from pathlib import Path

    short = Path(tempfile.mkdtemp(prefix="vk "))  # pytest's own folders are too long for a socket
    yield short
    shutil.rmtree(short)


@pytest.fixture
def started():
    servers = []

    def start(path):
        servers.append(valkey.start(path))
        return servers[-1]

    yield start
    for server in servers:
        valkey.stop(server)


def client(server):
    return redis.Redis.from_url(server.url)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def fake_server(folder, name, version):
    path = folder / name
    path.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0 malloc=libc bits=64'\n")
    path.chmod(0o755)
    return path


def test_it_speaks_over_a_socket_that_only_we_may_open(folder, started):
    server = started(folder)

    with client(server) as connected:
        assert connected.ping()
    assert server.url.startswith("unix://:")
    assert (mode(folder), mode(folder / "valkey.conf")) == (0o700, 0o600)
    assert mode(folder / "valkey.sock") == 0o700


def test_a_path_too_long_for_a_socket_leads_to_a_port_on_loopback(folder, started):
    server = started(folder / ("x" * 120))

    with client(server) as connected:
        assert connected.ping()
        assert connected.config_get("bind") == {"bind": "127.0.0.1"}
    assert server.url.startswith("redis://:")


def test_nobody_gets_in_without_the_password(folder, started):
    started(folder)

    with (
        pytest.raises(redis.AuthenticationError),
        redis.Redis(unix_socket_path=str(folder / "valkey.sock")) as plain,
    ):
        plain.ping()


def test_the_password_is_in_no_command_line(folder, started):
    server = started(folder)

    password = server.url.split("@")[0].split(":")[-1]

    assert password not in " ".join(psutil.Process(server.pid).cmdline())
    assert password not in repr(server)


def test_what_was_written_survives_a_kill(folder, started):
    server = started(folder)
    with client(server) as connected:
        connected.set("kept", "yes")
    time.sleep(1.2)  # the file is synced once a second

    os.kill(server.pid, signal.SIGKILL)
    server.process.wait()

    with client(started(folder)) as connected:
        assert connected.get("kept") == b"yes"


def test_the_leftover_of_a_killed_stack_is_stopped_first(folder, started):
    leftover = started(folder)

    server = started(folder)

    assert leftover.process.wait(5) == 0
    assert server.pid != leftover.pid
    with client(server) as connected:
        assert connected.ping()


def test_a_pid_file_that_names_a_stranger_harms_nobody(folder, started):
    (folder / "valkey.pid").write_text(str(os.getpid()))

    started(folder)

    assert psutil.pid_exists(os.getpid())


def test_a_server_on_path_goes_before_the_wheel(tmp_path, monkeypatch):
    server = fake_server(tmp_path, "redis-server", "7.0.15")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    assert valkey.find_server() == server


@pytest.mark.parametrize("version", ["6.2.14", "nonsense"])
def test_a_server_that_is_too_old_is_passed_over(tmp_path, monkeypatch, version):
    server = fake_server(tmp_path, "redis-server", version)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    assert valkey.find_server() != server


def test_without_any_server_one_line_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(StackError, match=r"^No Redis was found: install .* or set REDIS_URL") as caught:
        valkey.find_server()
    assert "\n" not in str(caught.value)


def test_a_server_that_cannot_start_names_its_log(folder, monkeypatch, tmp_path):
    (tmp_path / "valkey-server").write_text("#!/bin/sh\necho 'server v=8.0.0'\nexit 3\n")
    (tmp_path / "valkey-server").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    with pytest.raises(StackError, match=r"did not start: read .*valkey\.log"):
        valkey.start(folder)


def test_stopping_twice_is_harmless(folder):
    server = valkey.start(folder)

    valkey.stop(server)
    valkey.stop(server)

    assert server.process.returncode == 0
