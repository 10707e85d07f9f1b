"""How flags are read: by leases that end, by every process at once, and at most once by a job."""

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from mirroring.flags.actors import Actor, bucket
from mirroring.flags.changes import FlagRefused, renew_lease
from mirroring.flags.readings import is_on, read, read_all
from mirroring.flags.registry import UnknownFlag
from tests.making import build_mirror, claim_of
from tests.trial import FIRST, SECOND

ROOT = Path(__file__).resolve().parents[2]
MINUTE = timedelta(minutes=1)
READER = """
import sys, time, django
django.setup()
from mirroring.flags.readings import read_all
print("ready", flush=True)
seen = None
while seen != "True":
    now = str(read_all()[sys.argv[1]])
    if now != seen:
        print(now, time.time(), flush=True)
    seen = now
    time.sleep(0.02)
"""

pytestmark = pytest.mark.django_db


def now() -> datetime:
    return datetime.now(tz=UTC)


# -- leases ---------------------------------------------------------------------------------------------------------


def test_on_by_lease_is_off_once_the_lease_has_ended(turn):
    until = now() + MINUTE
    turn(FIRST, True, on_until=until)

    assert read_all(until - MINUTE / 2)[FIRST]
    assert not read_all(until)[FIRST]


@pytest.mark.parametrize("share", [50, 100])
def test_a_percentage_by_lease_ends_with_it_and_so_do_listed_actors(turn, define, share):
    name, until = define("per_host", actor="host"), now() + MINUTE
    actor = Actor("host", "a")
    turn(name, percentage=share, actors_add=("host:a",), on_until=until)

    assert is_on(name, actor=actor, now=until - MINUTE / 2)
    assert not is_on(name, actor=actor, now=until)


def test_a_lease_is_renewed_and_one_that_has_ended_is_not(turn):
    from mirroring.flags.models import Flag

    turn(FIRST, True, on_until=now() + MINUTE)
    assert renew_lease(FIRST, now() + 2 * MINUTE, now=now())

    Flag.objects.filter(name=FIRST).update(on_until=now() - MINUTE)
    assert not renew_lease(FIRST, now() + 2 * MINUTE, now=now())
    assert not read_all()[FIRST]


def test_a_flag_that_is_on_for_good_takes_no_lease(turn):
    turn(FIRST, True)

    assert not renew_lease(FIRST, now() + MINUTE, now=now())
    assert read_all(now() + 1000 * MINUTE)[FIRST]


def test_a_lease_becomes_for_good_without_a_gate_and_one_that_has_ended_asks_them(turn, define):
    from mirroring.flags.models import Flag
    from mirroring.models import ChangeFreeze

    turn(FIRST, True, on_until=now() + MINUTE)
    ChangeFreeze.begin("moving house", by="eve", now=now())
    turn(FIRST, True)
    assert read_all(now() + 10 * MINUTE)[FIRST]

    Flag.objects.filter(name=FIRST).update(on_until=now() - MINUTE)
    with pytest.raises(FlagRefused, match="gate freeze"):
        turn(FIRST, True)


# -- actors ---------------------------------------------------------------------------------------------------------


def test_a_listed_group_or_host_means_every_mirror_within(turn, define):
    name = define("per_mirror", actor="mirror")
    mirror = build_mirror(url="https://git.example.org/a/b.git")
    actor = Actor.of_mirror(mirror)
    for listed in ("group:default", "host:git.example.org", f"mirror:{mirror.pk}"):
        turn(name, actors_add=(listed,))
        assert is_on(name, actor=actor, now=now())
        turn(name, actors_remove=(listed,))
        assert not is_on(name, actor=actor, now=now())


def test_the_hash_is_the_same_for_ever():
    """Written down: whoever changes it takes flags away from some and gives them to others."""
    assert [bucket("flag", Actor("mirror", str(number))) for number in range(3)] == [91654, 83714, 63454]


def test_flags_choose_differently():
    actors = [Actor("mirror", str(number)) for number in range(2000)]
    chosen = [{actor for actor in actors if bucket(flag, actor) < 10_000} for flag in ("one", "two")]

    assert 140 < len(chosen[0]) < 260
    assert len(chosen[0] & chosen[1]) < 50


def test_an_unknown_name_is_refused_by_every_reader():
    for reader in (lambda: is_on("nowhere", actor=None, now=now()), lambda: read("nowhere", now=now())):
        with pytest.raises(UnknownFlag):
            reader()


# -- processes and jobs ---------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_flip_is_seen_by_another_process_within_a_second_while_redis_is_down(turn, child_environment):
    environment = child_environment(
        REDIS_URL="redis://127.0.0.1:1/0", DJANGO_SETTINGS_MODULE="config.settings"
    )
    with subprocess.Popen(
        [sys.executable, "-c", READER, FIRST], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout.readline() == "ready\n"
        assert reader.stdout.readline().startswith("False")

        turn(FIRST, True, overrides={"deployed"})
        flipped = time.time()

        value, at = reader.stdout.readline().split()

    assert value == "True"
    assert float(at) - flipped < 1


def flag_reads(job) -> int:
    with CaptureQueriesContext(connection) as queries:
        job()
    return sum('FROM "mirroring_flag"' in query["sql"] for query in queries)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("on", [False, True])
def test_a_job_reads_flags_at_most_once(turn, on, tracker, configure):
    from mirroring import tasks
    from mirroring.models import Claim

    configure(reschedule_wait_seconds=0, schedule_wait_timeout_seconds=0)
    turn(FIRST, on, overrides={"all"})
    turn(SECOND, on, overrides={"all"})
    mirror = build_mirror()

    assert flag_reads(tasks.update_all_mirrors) <= 1
    claim: Claim = claim_of(mirror)
    assert flag_reads(lambda: tasks.project_import_schedule(claim.mirror_id, claim.epoch)) == 0
    assert flag_reads(lambda: tasks.update_mirror(claim.mirror_id, claim.epoch)) == 1
    assert flag_reads(tasks.repair) == 0
