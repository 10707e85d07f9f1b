"""What beat sends while nobody reads a queue, and while the server is away."""

import shutil
import subprocess
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from celery import Celery
from celery.beat import PersistentScheduler, SchedulingError

from config.beat import AGAIN_SECONDS, MOST_WAITING, LiveScheduler
from config.celery import app, broker_url
from mirroring.stack import valkey
from mirroring.tracker.job_tracker import JobTracker

pytestmark = pytest.mark.one_database
SETTINGS = (
    "broker_connection_max_retries",
    "broker_transport_options",
    "task_create_missing_queues",
    "task_default_queue",
    "task_queues",
    "task_routes",
)


class Server:
    """A server of our own that can be stopped and started again at the same address."""

    def __init__(self, folder: Path) -> None:
        self.launch = valkey.prepare(folder)

    def start(self) -> None:
        self.process = subprocess.Popen(self.launch.argv, stdout=subprocess.DEVNULL)
        while not valkey.answers(self.launch):
            time.sleep(0.01)
        self.client = redis.Redis.from_url(self.launch.url)

    def stop(self) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait()

    def waiting(self, queue: str) -> int:
        return self.client.llen(f"mirroring:{queue}")


@pytest.fixture
def folder():
    short = Path(tempfile.mkdtemp(prefix="beat"))  # pytest's own folders are too long for a socket
    yield short
    shutil.rmtree(short)


@pytest.fixture
def server(folder):
    made = Server(folder)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def beat(db, server, folder, monkeypatch):
    """Return beat's scheduler, with the broker and the tracker on a server of our own."""
    own = Celery("beat", broker=broker_url(server.launch.url), set_as_current=False)
    own.conf.update({name: app.conf[name] for name in SETTINGS})
    made = LiveScheduler(own, schedule_filename=str(folder / "schedule"))
    tracker = JobTracker(redis.Redis.from_url(server.launch.url, decode_responses=True))
    monkeypatch.setattr("config.beat.connect", lambda: tracker)
    yield made
    made.close()


def send(beat, name: str, times: int = 1) -> None:
    """Send a tick as beat does once it is due."""
    for _ in range(times):
        beat.apply_entry(beat.schedule[name], producer=beat.producer)


def test_a_queue_that_nobody_reads_does_not_grow_for_ever(beat, server):
    send(beat, "check_mirrors", MOST_WAITING + 5)
    send(beat, "repair")

    assert server.waiting("checks") == MOST_WAITING
    assert server.waiting("control") == 1

    server.client.rpop("mirroring:checks")
    send(beat, "check_mirrors", 2)

    assert server.waiting("checks") == MOST_WAITING


def test_beat_goes_on_after_the_server_was_away(beat, server):
    send(beat, "check_mirrors")
    server.stop()

    with pytest.raises(SchedulingError):  # It went away after it was asked how many wait.
        PersistentScheduler.apply_async(beat, beat.schedule["check_mirrors"], producer=beat.producer)
    send(beat, "check_mirrors")

    server.start()
    before = server.waiting("checks")
    send(beat, "check_mirrors")
    assert server.waiting("checks") == before + 1


@pytest.mark.timeout(30)
def test_what_is_due_while_the_server_is_away_is_sent_once_it_is_back(beat, server):
    beat.tick()
    entry = beat.schedule["check_mirrors"]
    entry.last_run_at -= timedelta(minutes=1)
    server.stop()

    assert beat.tick() == AGAIN_SECONDS

    server.start()
    beat.tick()
    assert server.waiting("checks") == 1
