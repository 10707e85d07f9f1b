import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from tests.servers import guard, postgres

ROOT = Path(__file__).resolve().parents[2]


def test_valkey_is_private_empty_and_as_configured(redis_client):
    assert redis_client.dbsize() == 0
    assert redis_client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


@pytest.mark.django_db
def test_the_chosen_database_is_the_one_in_use(request):
    assert connection.vendor == request.config.getoption("database")


@pytest.mark.django_db(transaction=True)
def test_another_process_sees_our_database(child_environment):
    code = (
        "import django; django.setup(); from django.db import connection as c; print(c.settings_dict['NAME'])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], env=child_environment(), cwd=ROOT, capture_output=True, text=True
    )

    assert done.stderr == ""
    assert done.stdout.strip() == str(connection.settings_dict["NAME"])


@pytest.mark.parametrize(
    "find", [postgres.find_binaries, lambda: postgres.wheel_binaries()[0]], ids=["found", "wheel"]
)
def test_postgresql_starts_from_either_place(find):
    # Not in tmp_path: each pytest that starts closes that place to other users, and root hands this to one.
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as folder:
        server = postgres.start(Path(folder), binaries=find())

        with psycopg.connect(server.url.rpartition("/")[0] + "/postgres") as connected:
            assert connected.execute("select 1").fetchone() == (1,)
        postgres.stop(server)
        assert server.process.poll() == 0


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.org", 80)])
def test_a_connection_that_leaves_the_machine_is_refused(address):
    import socket

    with socket.socket() as client, pytest.raises(guard.LeavesTheMachine):
        client.connect(address)
