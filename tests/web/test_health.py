"""What watchers are told: does it answer, which part is not ready, which revision runs."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import timedelta

import pytest

from mirroring import revision
from mirroring.stack.processes import CELERY
from mirroring.tracker.connection import connect
from tests.web.server import ROOT, serve

pytestmark = pytest.mark.django_db

LIFE = timedelta(minutes=1)
ALL = ("imports@a:1", "scheduling@a:2", "control@a:3", "beat@a:4")


def announce(*names: str, slots: int = 4) -> None:
    for name in names:
        connect().announce(name, slots=slots if "imports" in name else 0, flags={}, life=LIFE)


def fetch(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def ready(client) -> tuple[int, dict]:
    answer = client.get("/-/readyz")
    return answer.status_code, answer.json()


def test_everything_is_ready(client):
    announce(*ALL)

    status, body = ready(client)

    assert (status, body["not_ready"]) == (200, [])
    assert body["parts"]["workers"] == {"ready": True, "detail": "all queues are read; 4 import slots"}


@pytest.mark.parametrize(
    ("missing", "part", "detail"),
    [
        ("imports@a:1", "workers", "no live worker reads the queue imports: start one"),
        ("scheduling@a:2", "workers", "no live worker reads the queue scheduling: start one"),
        ("control@a:3", "workers", "no live worker reads the queue control: start one"),
        ("beat@a:4", "beat", "no live beat has announced itself: start `celery beat`"),
    ],
)
def test_a_process_that_is_missing_is_named(missing, part, detail, client):
    announce(*(name for name in ALL if name != missing))

    status, body = ready(client)

    assert (status, body["not_ready"]) == (503, [part])
    assert body["parts"][part]["detail"] == detail


def test_one_worker_may_read_all_queues(client):
    announce("control+imports+scheduling@a:1", "beat@a:4")

    assert ready(client)[0] == 200


def test_imports_workers_that_shut_down_are_not_ready(client):
    announce(*ALL, slots=0)

    assert ready(client)[1]["parts"]["workers"]["detail"] == "the imports workers are shutting down"


def test_without_redis_it_says_so_and_tells_no_secret(client, redis_down):
    status, body = ready(client)

    assert (status, body["not_ready"]) == (503, ["redis", "workers", "beat"])
    assert body["parts"]["database"]["ready"]
    assert "secret-password" not in str(body)


def test_a_migration_that_was_not_applied_is_not_ready(client):
    from django.db.migrations.recorder import MigrationRecorder

    MigrationRecorder.Migration.objects.filter(app="mirroring", name="0001_initial").delete()

    body = ready(client)[1]

    assert "migrations" in body["not_ready"]
    assert body["parts"]["migrations"]["detail"] == "1 not applied: run `manage.py migrate`"


def test_without_database_and_redis_it_says_so_and_still_lives(child_environment, tmp_path):
    nowhere = {
        "DATABASE_URL": "postgresql://someone:secret@127.0.0.1:1/none",
        "REDIS_URL": "redis://127.0.0.1:1/0",
    }

    with serve(child_environment(**nowhere), log=tmp_path / "log") as server:
        answers = {
            path: fetch(server.url + path) for path in ("/-/livez", "/-/readyz", "/-/version", "/metrics")
        }

    assert {path: status for path, (status, _) in answers.items()} == {
        "/-/livez": 200,
        "/-/readyz": 503,
        "/-/version": 200,
        "/metrics": 200,
    }
    assert json.loads(answers["/-/readyz"][1])["not_ready"] == [
        "database",
        "migrations",
        "redis",
        "workers",
        "beat",
        "credentials",
    ]
    assert 'mirroring_up{part="database"} 0.0' in answers["/metrics"][1]
    assert 'mirroring_up{part="redis"} 0.0' in answers["/metrics"][1]


def test_livez_asks_neither_database_nor_redis(client, redis_down, django_assert_num_queries):
    with django_assert_num_queries(0):
        answer = client.get("/-/livez")

    assert (answer.status_code, answer.content) == (200, b"ok\n")


def test_the_version_is_that_of_the_checkout(client, settings):
    import celery
    import django

    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=settings.BASE_DIR, capture_output=True, text=True, check=True
    ).stdout.strip()
    revision.current.cache_clear()

    told = client.get("/-/version").json()

    assert told == {"revision": head, "django": django.get_version(), "celery": celery.__version__}


def test_the_revision_that_the_deployment_names_goes_first(client, settings):
    settings.REVISION = "release-7"
    revision.current.cache_clear()

    assert client.get("/-/version").json()["revision"] == "release-7"

    revision.current.cache_clear()


def test_the_revision_is_read_from_a_packed_branch_and_from_a_linked_work_tree(tmp_path):
    def git(*words: str) -> str:
        who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        done = subprocess.run(["git", *who, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q", "-b", "main", "one")
    git("-C", "one", "commit", "-q", "--allow-empty", "-m", "first")
    git("-C", "one", "worktree", "add", "-q", "-b", "side", "../two")
    git("-C", "two", "commit", "-q", "--allow-empty", "-m", "second")
    git("-C", "one", "pack-refs", "--all", "--prune")

    assert revision.read(tmp_path / "one" / ".git") == git("-C", "one", "rev-parse", "HEAD")
    assert revision.read(tmp_path / "two" / ".git") == git("-C", "two", "rev-parse", "HEAD")


def test_without_a_checkout_there_is_no_revision(tmp_path):
    assert revision.read(tmp_path / ".git") == ""


@pytest.mark.django_db(transaction=True)
def test_beat_announces_itself(child_environment, tmp_path):
    command = [sys.executable, *CELERY, "beat", "--schedule", str(tmp_path / "schedule")]
    beat = subprocess.Popen(command, env=child_environment(), cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not connect().workers() and time.monotonic() < deadline:
            time.sleep(0.1)
        [worker] = connect().workers()
    finally:
        beat.terminate()
        beat.wait(15)

    assert worker.name.endswith(f":{beat.pid}")
    assert worker.name.startswith("beat@")
    assert worker.slots == 0
