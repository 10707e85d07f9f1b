"""Real workers and a real beat, from the tick or the wake-up to the refs on disk."""

import json
import signal
import time
from pathlib import Path

import pytest

from mirroring import catalog, tasks
from mirroring.models import ImportAttempt, ImportState
from mirroring.tracker.connection import connect, present
from mirroring.tracker.job_tracker import Pool
from tests.lab import repositories
from tests.making import heads_and_tags, refs_of, state_of, wait_until
from tests.scheduler.desk import FLAGS, LEGACY, POSITIONS, TRACKED, turn

WORKERS = ("control", "scheduling", "imports")
HOUR = 3600
PATIENCE = 60.0

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


@pytest.fixture
def upstream(make_upstream):
    return make_upstream("plain")


def add(url, *, name="", wake=tasks.wake_scheduler):
    return catalog.add(catalog.want(url, name=name), now=present(), wake=wake)


def fresh(mirror, upstream):
    return state_of(mirror).status == "finished" and refs_of(mirror.repository) == heads_and_tags(
        upstream.path
    )


def attempts(mirror):
    return ImportAttempt.objects.filter(mirror=mirror).count()


def starts_promptly(mirror, act):
    """Say whether an import starts within two seconds of an act; a machine that is busy elsewhere has three tries."""
    for _ in range(3):
        wait_until(lambda: not ImportState.objects.in_flight().exists(), seconds=PATIENCE)
        before, asked_at = attempts(mirror), present()
        mirror = act(mirror) or mirror
        wait_until(lambda: attempts(mirror) > before, seconds=PATIENCE, what="it starts at all")  # noqa: B023
        started_at = ImportAttempt.objects.filter(mirror=mirror).latest("id").started_at
        if (started_at - asked_at).total_seconds() < 2:
            return True
    return False


def sync(mirror):
    return catalog.sync(mirror, now=present(), wake=tasks.wake_scheduler)


def pause_and_resume(mirror):
    catalog.pause(mirror, now=present())
    return catalog.resume(mirror, now=present(), wake=tasks.wake_scheduler)


def test_a_tick_of_beat_brings_what_is_due_and_again_what_was_pushed(stack, configure, upstream, git_server):
    configure(
        tick_seconds=1, mirror_min_delay_seconds=2, mirror_max_delay_seconds=60, mirror_jitter_seconds=0
    )
    mirror = add(git_server.add(upstream.name, upstream.path), wake=lambda: None)
    stack.start(*WORKERS, "beat")

    wait_until(lambda: fresh(mirror, upstream), seconds=PATIENCE, what="the first import")
    repositories.push_commits(upstream, seed=1)
    wait_until(lambda: fresh(mirror, upstream), seconds=PATIENCE, what="the next import")

    assert state_of(mirror).last_outcome in {"changed", "unchanged"}
    assert connect().counts(max_capacity=9).processing == 0


def test_with_the_tick_at_an_hour_what_people_ask_for_starts_within_two_seconds_in_each_flag_position(
    stack, configure, upstream, git_server
):
    configure(tick_seconds=HOUR)
    waiting = add(git_server.add("waiting", upstream.path), wake=lambda: None)
    stack.start("control", "scheduling")
    wait_until(
        lambda: "mirrors dispatched" in stack.log(), seconds=PATIENCE, what="a run that finds no slots"
    )
    stack.start("imports")
    wait_until(
        lambda: fresh(waiting, upstream), seconds=PATIENCE / 3, what="a worker that comes brings what is due"
    )

    for number, position in enumerate(POSITIONS):
        turn(position)
        url = git_server.add(f"new-{number}", upstream.path)
        began = time.monotonic()
        mirror = add(url)
        wait_until(lambda: fresh(mirror, upstream), seconds=PATIENCE, what="the mirror that was added")  # noqa: B023
        assert time.monotonic() - began < 10
        repositories.push_commits(upstream, seed=number)

        assert starts_promptly(mirror, sync), position
        assert starts_promptly(mirror, pause_and_resume), position
        wait_until(lambda: fresh(mirror, upstream), seconds=PATIENCE, what="what was pushed")  # noqa: B023
        wait_until(all_workers_see(position), seconds=PATIENCE, what="every worker sees the flip")
    assert connect().counts(max_capacity=9).importing == 0


def all_workers_see(position):
    def seen():
        return all(
            all(worker.flags[name] is position[number] for number, name in FLAGS.items())
            for worker in connect().workers()
            if worker.flags
        )

    return seen


@pytest.mark.parametrize(
    "position", [TRACKED, pytest.param(LEGACY, marks=pytest.mark.long)], ids=["tracked", "legacy"]
)
def test_the_cap_holds_while_thirty_mirrors_of_a_slow_upstream_run(
    position, stack, configure, upstream, git_server, request_log
):
    turn(position)
    configure(tick_seconds=1 if position == LEGACY else HOUR, mirror_max_capacity=3)
    urls = [git_server.add(f"slow-{n:02}", upstream.path, behaviour="slow:0.1") for n in range(30)]
    mirrors = [add(url, wake=lambda: None) for url in urls]
    stack.start(*WORKERS, *(["beat"] if position == LEGACY else []))
    peak = 0

    def done():
        nonlocal peak
        peak = max(peak, ImportState.objects.in_flight().count(), len(connect().leases(Pool.IMPORTING)))
        return ImportState.objects.filter(status="finished").count() == 30

    wait_until(done, seconds=120, what="all thirty")

    assert peak == 3
    assert 2 <= most_at_once(request_log) <= 3
    assert {attempts(mirror) for mirror in mirrors} == {1}


def most_at_once(log: Path) -> int:
    """Return how many repositories had an open request at once."""
    open_now, most = {}, 0
    for line in log.read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "start":
            open_now[event["id"]] = event["repository"]
        else:
            open_now.pop(event["id"], None)
        most = max(most, len(set(open_now.values())))
    return most


def test_the_mirror_of_an_imports_worker_that_was_killed_runs_again_within_a_lease_and_a_repair_tick(
    stack, configure, upstream, git_server
):
    lease, repair_tick, margin = 5, 1, 8
    turn(TRACKED)
    configure(tick_seconds=HOUR, repair_tick_seconds=repair_tick, lease_seconds=lease)
    url = git_server.add(upstream.name, upstream.path, behaviour="hang")
    stack.start(*WORKERS, "beat")
    mirror = add(url)
    wait_until(lambda: state_of(mirror).status == "started", seconds=PATIENCE)
    wait_until(lambda: git_processes(mirror), seconds=PATIENCE)

    stack.kill("imports")
    killed_at = present()
    wait_until(lambda: not git_processes(mirror), seconds=lease, what="git ends with its worker")
    git_server.behave(upstream.name, "")
    stack.start("imports")
    wait_until(lambda: fresh(mirror, upstream), seconds=PATIENCE)

    first, *_, last = ImportAttempt.objects.filter(mirror=mirror).order_by("id")
    assert first.outcome == "lost"
    assert (last.started_at - killed_at).total_seconds() < lease + repair_tick + margin
    assert state_of(mirror).retry_count == 0
    assert connect().counts(max_capacity=9).importing == 0


def git_processes(mirror):
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            found += [folder.name] if mirror.storage_id.hex.encode() in line else []
    return found


def test_a_worker_that_is_asked_to_end_hands_back_what_it_cannot_finish(
    stack, configure, upstream, git_server
):
    turn(TRACKED)
    configure(tick_seconds=HOUR)
    url = git_server.add(upstream.name, upstream.path, behaviour="hang")
    stack.start(*WORKERS, DRAIN_SECONDS="1")
    mirror = add(url)
    wait_until(lambda: git_processes(mirror), seconds=PATIENCE)
    began = time.monotonic()

    stack.kill("imports", signal.SIGTERM)
    stack.processes.pop("imports").wait(PATIENCE)

    assert time.monotonic() - began < 15
    row = state_of(mirror)
    assert (row.status, row.last_outcome, row.retry_count) == ("canceled", "interrupted", 0)
    assert row.import_due_at is not None
    assert not git_processes(mirror)
    assert connect().counts(max_capacity=9).slots == 0
    git_server.behave(upstream.name, "")
    stack.start("imports")
    wait_until(lambda: fresh(mirror, upstream), seconds=PATIENCE, what="the next worker takes it up")


def test_after_redis_has_forgotten_everything_what_runs_goes_on_and_what_waits_runs(
    stack, configure, upstream, git_server, redis_client
):
    turn(TRACKED)
    # Without this the one that hangs would keep its host, which has shown nothing yet, at one slot.
    configure(tick_seconds=2, repair_tick_seconds=1, mirror_max_capacity=2, mirror_host_adaptive=False)
    hanging = git_server.add("hanging", upstream.path, behaviour="hang")
    stack.start(*WORKERS, "beat")
    busy = add(hanging)
    wait_until(lambda: git_processes(busy), seconds=PATIENCE)

    redis_client.flushall()
    mirrors = [add(git_server.add(f"next-{n}", upstream.path)) for n in range(4)]

    def done():
        assert ImportState.objects.in_flight().count() <= 2
        return all(fresh(mirror, upstream) for mirror in mirrors)

    wait_until(done, seconds=60, what="the others")
    assert state_of(busy).status == "started"
    assert attempts(busy) == 1
    catalog.pause(busy, now=present())
    wait_until(lambda: state_of(busy).status == "canceled", seconds=PATIENCE, what="pausing stops it")


def test_a_tick_that_is_made_shorter_is_seen_by_a_beat_that_runs(stack, configure, redis_client):
    configure(tick_seconds=HOUR)

    def ticked():
        messages = [json.loads(message) for message in redis_client.lrange("mirroring:control", 0, -1)]
        return "mirroring.tasks.update_all_mirrors" in {message["headers"]["task"] for message in messages}

    stack.start("beat")
    wait_until(
        lambda: redis_client.llen("mirroring:control"), seconds=PATIENCE, what="another tick came first"
    )
    assert not ticked()

    configure(tick_seconds=1)

    wait_until(ticked, seconds=20)
