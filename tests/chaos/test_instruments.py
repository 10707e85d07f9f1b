"""The instruments of the chaos see what is there: refs and who replaced them, pools, rows, and upstream states."""

import json
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from tests.acceptance.chaos import faults, kills, proc, upstreams
from tests.acceptance.chaos.plan import Plan, read_plan
from tests.acceptance.chaos.upstream_server import QuickServer
from tests.acceptance.plan import Failed
from tests.lab.fast_import import ENVIRONMENT
from tests.verify.watch import pools, rows
from tests.verify.watch.log import Log
from tests.verify.watch.refs import Reader, Repository, Writers, read, read_by_git

OLD, NEW = {"refs/heads/main": "1" * 40, "refs/tags/v1": "1" * 40}, {"refs/heads/main": "2" * 40}


def write(folder: Path, refs: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "packed-refs").write_text("# pack-refs\n" + "".join(f"{o} {n}\n" for n, o in refs.items()))
    return folder / "packed-refs"


@pytest.fixture
def mirror(tmp_path: Path) -> Repository:
    path = tmp_path / "mirror.git"
    (path / "incoming").mkdir(parents=True)
    write(path, OLD)
    return Repository(mirror=7, path=path, states=[OLD, NEW])


@pytest.fixture
def watched(mirror: Repository, tmp_path: Path) -> Iterator[Callable[[str], list[dict]]]:
    """Watch who replaces the mirror's refs; returns a function that waits for events of a name."""
    ended, log = threading.Event(), Log(tmp_path / "refs.jsonl")
    writers = Writers([mirror], log, f"sqlite:///{tmp_path}/none")
    thread = threading.Thread(target=writers.follow, args=(ended,))
    thread.start()

    def events(name: str, *, count: int = 1) -> list[dict]:
        deadline = time.monotonic() + 10
        while True:
            lines = map(json.loads, (tmp_path / "refs.jsonl").read_text().splitlines())
            found = [line for line in lines if line["event"] == name]
            if len(found) >= count:
                return found
            assert time.monotonic() < deadline, f"no {name} was noted"
            time.sleep(0.02)

    events("watched")
    yield events
    ended.set()
    thread.join()
    log.close()


def stage(mirror: Repository, epoch: int, refs: dict[str, str]) -> Path:
    folder = mirror.path / "incoming" / str(epoch)
    folder.mkdir()
    time.sleep(0.3)  # A fetch takes longer than this.
    return write(folder, refs)


def test_an_update_is_noted_with_the_epoch_that_made_it_and_the_state_it_shows(mirror, watched):
    stage(mirror, 41, NEW).rename(mirror.path / "packed-refs")

    [event] = watched("publish")

    assert (event["mirror"], event["epoch"], event["state"]) == (7, 41, 1)


def test_an_update_from_a_folder_that_was_moved_away_meanwhile_keeps_its_epoch(mirror, watched):
    staged = stage(mirror, 41, NEW)
    staged.parent.rename(mirror.path / "incoming" / ".41.gone")
    (mirror.path / "incoming" / ".41.gone" / "packed-refs").rename(mirror.path / "packed-refs")

    [event] = watched("publish")

    assert event["epoch"] == 41


def test_refs_that_somebody_replaces_from_elsewhere_have_no_epoch(mirror, watched, tmp_path):
    write(tmp_path / "elsewhere", {"refs/heads/main": "3" * 40}).rename(mirror.path / "packed-refs")

    [event] = watched("publish")

    assert event["epoch"] is None
    assert event["state"] is None


def test_a_reader_notes_new_states_and_those_that_never_were(mirror, tmp_path):
    log = Log(tmp_path / "refs.jsonl")
    reader = Reader([mirror], log, threading.Event())

    for refs in (OLD, OLD, NEW, {**OLD, "refs/heads/main": "2" * 40}, {}):
        reader.look(mirror, refs, by="file")
    log.close()

    lines = [json.loads(line) for line in (tmp_path / "refs.jsonl").read_text().splitlines()]
    assert [(line["event"], line.get("state")) for line in lines] == [
        ("seen", 0),
        ("seen", 1),
        ("torn", None),
        ("seen", -1),
    ]


def test_loose_refs_stand_over_packed_ones_as_they_do_for_git(tmp_path):
    upstream = upstreams.make_upstream(tmp_path / "x.git", rng=Random(1), versions=2)
    oid = upstream.states[1]["refs/heads/main"]
    (upstream.path / "refs/heads/side").mkdir()
    (upstream.path / "refs/heads/side/one").write_text(f"{oid}\n")

    assert read(upstream.path) == read_by_git(upstream.path)
    assert read(upstream.path)["refs/heads/side/one"] == oid


def test_pools_show_leases_that_run_and_whether_they_can_be_trusted(new_tracker, redis_client):
    tracker, minute = new_tracker(), timedelta(minutes=1)
    tracker.rebuild(processing=[], importing=[])
    tracker.announce("imports@lab:5", slots=2, flags={}, life=minute)
    tracker.door("1:1", capacity=9, lease=minute)
    tracker.admit(["2:1"], capacity=9, lease=minute, enforce=False)
    redis_client.zadd("{mirroring}:importing", {"3:1": 1})

    sample = pools.look(redis_client)

    assert (sample["importing"], sample["processing"]) == (["1:1"], ["2:1"])
    assert sample["workers"] == {"imports@lab:5": 2}
    assert sample["ready"]
    redis_client.flushall()
    assert not pools.look(redis_client)["ready"]


@pytest.mark.django_db(transaction=True)
def test_rows_are_read_from_the_database_itself_with_times_in_seconds(child_environment):
    from tests.making import NOW, build_mirror

    mirror = build_mirror(epoch=3, status="started", claim_expires_at=NOW)
    with rows.Tables(child_environment()["DATABASE_URL"]) as tables:
        [row] = tables.states()

        assert tables.capacity() == 100
        assert tables.state_of(mirror.pk) == row
    assert row == [mirror.pk, 3, "started", True, False, None, None, NOW.timestamp()]


def test_a_write_lock_that_is_held_is_noted_with_its_time(tmp_path):
    path, ended = tmp_path / "db.sqlite3", threading.Event()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("CREATE TABLE t (x)")
    holder.execute("BEGIN IMMEDIATE")
    watch = threading.Thread(
        target=rows.lock_watch, args=(tmp_path / "locks.jsonl", f"sqlite:///{path}", ended)
    )
    watch.start()
    time.sleep(2.5)
    holder.execute("ROLLBACK")
    holder.close()
    time.sleep(1.5)
    ended.set()
    watch.join()

    [event] = map(json.loads, (tmp_path / "locks.jsonl").read_text().splitlines())

    assert 1 < event["at"] - event["since"] < 4


def test_upstreams_go_from_state_to_state_and_a_fetch_brings_exactly_one(tmp_path):
    upstream = upstreams.make_upstream(tmp_path / "x.git", rng=Random(3), versions=4)
    clone = tmp_path / "clone.git"
    with QuickServer(log=tmp_path / "log") as server:
        url = server.add(upstream.name, upstream.path)
        git("clone", "--quiet", "--mirror", url, clone)
        assert read_by_git(clone) == upstream.states[0]

        for version in (1, 2, 3):
            assert upstream.push() == version
            git(f"--git-dir={clone}", "fetch", "--quiet", "--prune")
            assert read_by_git(clone) == upstream.states[version]
        assert upstream.push() == 3
        listed = git("ls-remote", "--symref", url)
    assert listed.startswith("ref: refs/heads/main\tHEAD\n")
    assert len({json.dumps(state) for state in upstream.states}) == 4


def git(*words: object) -> str:
    command = ["git", *map(str, words)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout


def test_the_work_of_a_git_process_is_read_off_its_arguments():
    argv = ("git", f"--git-dir=/r/{'a' * 32}.git/incoming/12", "fetch")

    assert proc.Running(1, 0, argv).work == ("a" * 32, 12)
    assert proc.Running(1, 0, ("git", "--git-dir=/r/x.git", "fetch")).work is None


@pytest.mark.parametrize("seed", range(5))
def test_every_kind_of_fault_and_victim_comes_in_a_full_run(seed: int):
    plan = Plan(seed=seed)

    assert set(faults.drawn(Random(seed), plan.share)) == set(faults.MIX)
    victims = kills.drawn(Random(seed), plan.kills)
    assert set(victims) == set(kills.MIX)
    assert sum(kind not in ("leader", "scheduling", "beat") for kind in victims) >= plan.least_hits


def test_a_full_run_is_as_large_as_it_has_to_be():
    plan = read_plan({})

    assert (plan.mirrors, plan.imports, plan.least_kills, plan.least_hits) == (300, 3000, 40, 30)
    assert plan.lease <= 60
    assert plan.tick <= 10


@pytest.mark.parametrize("wrong", [{"DATABASE": "oracle"}, {"CHAOS_MIRRORS": "few"}, {"SEED": "-1"}])
def test_a_plan_that_makes_no_sense_is_refused(wrong: dict[str, str]):
    with pytest.raises(Failed):
        read_plan(wrong)
