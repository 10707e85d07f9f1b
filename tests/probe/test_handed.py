"""What a check was answered is handed over to the import that it caused, and believed only while it is true."""

import json
import subprocess
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
import redis

from mirroring import catalog
from mirroring.models import CredentialKind, Host, ImportState, Mirror, OnDivergence
from mirroring.rules.outcomes import Outcome
from mirroring.scheduler import checking, handing_over
from mirroring.scheduler.check_rows import read_rows
from mirroring.tracker.connection import RunClock
from mirroring.tracker.job_tracker import JobTracker
from mirroring.upstream.client.probe import SMALL_BYTES, Way
from mirroring.upstream.policy import urls
from mirroring.upstream.transfer.handed import GOOD_FOR, Handed, text_of
from mirroring.upstream.transfer.listing import Known
from tests.lab.memory_upstream import Refs
from tests.lab.repositories import push_commits
from tests.making import LEASE, MINUTE, build_mirror, heads_and_tags, state_of
from tests.probe.round_trip import RoundTrip
from tests.scheduler.desk import to_the_door

SECOND = timedelta(seconds=1)
KEYS = "{mirroring}:handed:*"
LISTED, NOT_LISTED = {"ls-refs": 1, "fetch": 1}, {"fetch": 1}


@pytest.fixture
def trip(fleet, repositories_folder, git_server, make_upstream, request_log):
    return Trip(fleet, git_server, make_upstream("plain"), request_log)


class Trip(RoundTrip):
    def __init__(self, fleet, server, upstream, log):
        super().__init__(fleet, server, upstream)
        self.log = log

    def changed(self, seed=5, kind="commit", **mirror):
        """Return a mirror that was imported, and whose check has just found a change."""
        mirror = self.imported(**mirror)
        push_commits(self.upstream, seed=seed, kind=kind)
        assert self.checked(mirror)["changed"] == 1
        return mirror

    def asked_by(self, act):
        """Do something, and return what the upstream was asked meanwhile."""
        before = self._asked()
        act()
        return self._asked() - before

    def _asked(self):
        lines = map(json.loads, self.log.read_text().splitlines())
        return Counter(line["kind"] for line in lines if line["event"] == "start")

    def is_mirrored(self, mirror):
        return heads_and_tags(mirror.repository) == heads_and_tags(self.upstream.path)


def test_an_import_that_its_check_caused_does_not_list_the_upstream_again(trip):
    mirror = trip.changed()
    assert trip.asked_by(lambda: trip.import_again(mirror)) == NOT_LISTED
    assert trip.is_mirrored(mirror)
    assert trip.asked_by(lambda: trip.checked(mirror)) == {"ls-refs": 1}
    assert state_of(mirror).check_due_at is not None


@pytest.mark.django_db(transaction=True)
def test_the_task_of_an_import_receives_what_was_handed_over(trip):
    from mirroring import tasks

    mirror = trip.changed()
    claim = trip.scheduled(mirror)
    assert trip.asked_by(lambda: tasks.update_mirror(claim.mirror_id, claim.epoch)) == NOT_LISTED
    assert trip.is_mirrored(mirror)


def test_a_mirror_is_known_to_be_current_when_its_check_asked_and_no_later(trip):
    mirror = trip.changed()
    checked_at = state_of(mirror).last_checked_at
    trip.import_again(mirror)
    state = state_of(mirror)
    assert state.last_checked_at == state.last_successful_update_at == checked_at < state.last_update_at


@pytest.mark.parametrize("when", ["before it is claimed", "before it starts"])
def test_whoever_asks_for_an_update_after_the_check_gets_what_is_there_then(trip, when):
    mirror = trip.changed()
    if when == "before it starts":
        claim = trip.scheduled(mirror)
        catalog.sync(mirror, now=trip.fleet.tracker.now(), wake=lambda: None)
    else:
        catalog.sync(mirror, now=trip.fleet.tracker.now(), wake=lambda: None)
        claim = trip.scheduled(mirror)
    asked_at = trip.fleet.tracker.now()
    push_commits(trip.upstream, seed=6)
    assert trip.asked_by(lambda: trip.run(claim)) == LISTED
    assert trip.is_mirrored(mirror)
    assert state_of(mirror).last_successful_update_at >= asked_at


def test_an_update_that_is_asked_for_during_a_check_does_not_get_its_answer(trip, monkeypatch):
    mirror = trip.imported()
    push_commits(trip.upstream, seed=5)
    judge = checking._Run._judge

    def and_ask(run, row, answer, *, now):
        catalog.sync(mirror, now=now, wake=lambda: None)
        return judge(run, row, answer, now=now)

    with monkeypatch.context() as patched:
        patched.setattr(checking._Run, "_judge", and_ask)
        assert trip.checked(mirror)["late"] == 1
    push_commits(trip.upstream, seed=6)
    assert trip.asked_by(lambda: trip.import_again(mirror)) == LISTED
    assert trip.is_mirrored(mirror)


def test_a_row_that_somebody_has_asked_for_since_it_was_leased_is_not_read(fleet):
    mirror = fleet.mirror()
    now = fleet.tracker.now()
    lease = now + LEASE
    [leased] = ImportState.objects.lease_checks(1, now=now, until=lease, each=1)
    [row] = read_rows([leased], now=now, lease=lease)
    assert row.epoch == state_of(mirror).epoch
    ImportState.objects.filter(pk=mirror.pk).ask_now(now=now)
    ImportState.objects.claim_due(1, now=now, until=lease)
    assert read_rows([leased], now=now, lease=lease) == []


@pytest.mark.parametrize("age", [GOOD_FOR + SECOND, -MINUTE], ids=["too old", "from the future"])
def test_an_answer_is_believed_while_it_is_young(trip, age):
    mirror = trip.changed()
    claim, asked_at = trip.scheduled(mirror), state_of(mirror).last_checked_at
    text = trip.fleet.tracker.receive(claim.token)[1]
    assert Handed.of_text(text, now=asked_at + age) is None
    assert Handed.of_text(text, now=asked_at + GOOD_FOR).asked_at == asked_at
    clock = RunClock(trip.fleet.tracker.now() + age)
    assert trip.asked_by(lambda: trip.run(claim, handed=text, clock=clock)) == LISTED


def test_an_answer_is_there_for_one_import_only_and_not_for_long(trip, redis_client):
    mirror = trip.changed()
    [key] = redis_client.keys(KEYS)
    assert 0 < redis_client.pttl(key) <= GOOD_FOR / timedelta(milliseconds=1)
    claim = trip.scheduled(mirror)
    trip.run(claim)
    assert redis_client.keys(KEYS) == []
    assert trip.fleet.tracker.receive(claim.token)[1] is None


def test_the_answer_is_for_the_first_claim_after_the_check(trip):
    mirror = trip.changed()
    now = trip.fleet.tracker.now()
    rows = ImportState.objects.filter(pk=mirror.pk)
    rows.give_back(rows.claim_due(1, now=now, until=now + LEASE), now=now)
    assert trip.asked_by(lambda: trip.import_again(mirror)) == LISTED


def test_an_answer_of_another_url_is_not_believed(trip):
    mirror = trip.changed()
    other = trip.server.add("elsewhere", trip.upstream.path)
    Mirror.objects.filter(pk=mirror.pk).update(url=other)
    assert trip.asked_by(lambda: trip.import_again(mirror)) == LISTED
    assert trip.is_mirrored(mirror)


def test_the_answer_goes_with_all_that_decides_on_it(fleet, settings, tmp_path):
    settings.CREDENTIAL_KEYS = []
    settings.CREDENTIAL_KEYS_FILE = tmp_path / "keys"
    (tmp_path / "ca.pem").touch()
    mirror = fleet.mirror()
    host = Host.objects.get(pk=mirror.host_id)
    url, now = urls.parse(mirror.url), fleet.tracker.now()
    known = Known(url, host, ("+refs/heads/*:refs/heads/*",), Way.V2_SHA1)
    fleet.prober.put([known.ask(for_whom=[])])
    [answer] = fleet.prober.answers(wait=20)
    handed = Handed.of_text(text_of(answer.ask.question, answer.heard, asked_at=now), now=now)
    assert handed.answers(known.ask(for_whom=[]).question)
    secret = _secret(url, now)
    others = [
        replace(known, url=urls.parse(f"{mirror.url}x")),
        replace(known, url=urls.parse(mirror.url.replace("http:", "https:"))),
        replace(known, refspecs=("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")),
        replace(known, way=Way.V2_SHA256),
        replace(known, secret=secret),
        replace(known, host=_changed(host, proxy="http://proxy.example:3128")),
        replace(known, host=_changed(host, ca_bundle=str(tmp_path / "ca.pem"))),
    ]
    assert not [other for other in others if handed.answers(other.ask(for_whom=[]).question)]


def _changed(host, **changes):
    made = Host.objects.get(pk=host.pk)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def _secret(url, now):
    from mirroring.upstream.access.unsealing import secret_for

    given = catalog.Given(secret="pw", username="robot", hosts=[url.host])
    kind = CredentialKind.PASSWORD
    made = catalog.add_credential("robot", kind=kind, given=given, group=None, by="test", now=now)
    return secret_for(made, url=replace(url, scheme="https"), now=now, valid_for=MINUTE)


def test_an_upstream_that_no_longer_has_what_it_listed_is_listed_again(trip):
    mirror = trip.changed()
    _undo(trip)
    push_commits(trip.upstream, seed=6)
    checked_at = state_of(mirror).last_checked_at

    assert trip.import_again(mirror) is Outcome.CHANGED

    assert trip.is_mirrored(mirror)
    state = state_of(mirror)
    assert state.last_successful_update_at > checked_at
    assert state.check_due_at is not None
    assert trip.checked(mirror)["unchanged"] == 1


def test_a_branch_that_was_rewritten_only_for_a_moment_makes_no_import_fail(trip):
    kept = heads_and_tags(trip.upstream.path)
    mirror = trip.changed(kind="force", on_divergence=OnDivergence.KEEP)
    for name, oid in kept.items():
        _git(trip, "update-ref", name, oid)
    push_commits(trip.upstream, seed=6)
    assert trip.import_again(mirror) is Outcome.CHANGED
    assert trip.is_mirrored(mirror)


def test_what_is_still_listed_is_not_tried_again(trip):
    mirror = trip.changed(kind="force", on_divergence=OnDivergence.KEEP)
    assert trip.asked_by(lambda: trip.import_again(mirror)) == LISTED
    assert state_of(mirror).last_outcome == Outcome.DIVERGED


def test_an_answer_that_cannot_be_read_is_asked_for_again(trip):
    mirror = trip.changed()
    claim = trip.scheduled(mirror)
    text = trip.fleet.tracker.receive(claim.token)[1]
    broken = text[: text.rindex("\n")]
    assert trip.asked_by(lambda: trip.run(claim, handed=broken)) == LISTED
    assert trip.is_mirrored(mirror)


@pytest.mark.parametrize("text", ["", "tie", "tie\nlong ago\nanswer"])
def test_a_text_that_is_no_answer_is_none(text, fleet):
    assert Handed.of_text(text, now=fleet.tracker.now()) is None


def test_mirrors_of_one_url_each_get_the_one_answer(trip):
    mirrors = [trip.imported(), trip.imported()]
    push_commits(trip.upstream, seed=5)
    ImportState.objects.update(check_due_at=trip.fleet.tracker.now())
    assert trip.asked_by(trip.fleet.run) == {"ls-refs": 1}
    now = trip.fleet.tracker.now()
    for claim in ImportState.objects.claim_due(2, now=now, until=now + LEASE):
        assert to_the_door(claim, trip.fleet.tracker) == "scheduled"
        assert trip.asked_by(lambda claim=claim: trip.run(claim)) == NOT_LISTED
    assert all(map(trip.is_mirrored, mirrors))


def test_an_unchanged_mirror_leaves_nothing_behind(fleet, redis_client):
    fleet.mirror()
    assert fleet.run()["unchanged"] == 1
    assert redis_client.keys(KEYS) == []


@pytest.mark.parametrize("refs", [20, SMALL_BYTES // 50])
def test_only_a_small_answer_is_kept(fleet, redis_client, refs):
    fleet.upstream.repositories["a"] = Refs.made("a", count=refs)
    fleet.mirror()
    fleet.upstream.repositories["a"].push()
    assert fleet.run()["changed"] == 1
    assert len(redis_client.keys(KEYS)) == (refs == 20)


def test_a_run_hands_over_no_more_than_there_is_room_for_in_the_time(fleet, redis_client, monkeypatch):
    monkeypatch.setattr(handing_over, "ROOM", 2_000)
    for _ in range(5):
        fleet.mirror()
    fleet.upstream.repositories["a"].push()
    assert fleet.run()["changed"] == 5
    [size, *sizes] = [redis_client.strlen(key) for key in redis_client.keys(KEYS)]
    assert 2_000 - size < size + sum(sizes) <= 2_000


def test_without_redis_nothing_fails_and_nothing_is_handed_over_later(trip):
    handing = handing_over.HandingOver()
    mirror = build_mirror(url=trip.url)
    row = _row(trip, mirror)
    handing.add(row, _answer(trip, mirror))
    handing.put(JobTracker(redis.Redis(port=1)), now=row.leased_at)
    handing.put(trip.fleet.tracker, now=row.leased_at)
    assert trip.fleet.tracker.receive(f"{row.mirror_id}:{row.epoch + 1}")[1] is None


def _row(trip, mirror):
    now = trip.fleet.tracker.now()
    ImportState.objects.filter(pk=mirror.pk).update(check_due_at=now + LEASE, import_due_at=None)
    [row] = read_rows([mirror.pk], now=now, lease=now + LEASE)
    return row


def _answer(trip, mirror):
    trip.fleet.prober.put([trip.fleet.question(mirror)])
    [answer] = trip.fleet.prober.answers(wait=20)
    return answer


def _undo(trip):
    """Take the last commit of the default branch away, as a force push and a clean-up do."""
    branch = _git(trip, "symbolic-ref", "HEAD").strip()
    _git(trip, "update-ref", branch, f"{branch}~1")
    _git(trip, "reflog", "expire", "--expire=now", "--all")
    _git(trip, "gc", "--quiet", "--prune=now")


def _git(trip, *arguments):
    command = ["git", "-C", str(trip.upstream.path), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
