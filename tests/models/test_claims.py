import threading
from datetime import timedelta

import pytest
from django.db import connection

from mirroring.models import Claim, Host, ImportState
from mirroring.rules.cadence import FIRST_HEAD_START
from mirroring.rules.hosts import Bounds
from mirroring.rules.states import Status
from tests.making import LEASE, MINUTE, NOW, build_mirror, state_of

UNTIL = NOW + LEASE


def claim(limit=10, *, now=NOW, **how):
    return ImportState.objects.claim_due(limit, now=now, until=now + LEASE, **how)


def claimed(make_mirror, **state):
    mirror = make_mirror(**state)
    [taken] = claim()
    return mirror, taken


def test_a_claim_takes_the_row_raises_its_epoch_and_sets_its_expiry(make_mirror):
    mirror = make_mirror(epoch=4)

    assert claim() == [Claim(mirror_id=mirror.pk, epoch=5)]

    row = state_of(mirror)
    assert (row.epoch, row.claimed_at, row.claim_expires_at, row.import_due_at) == (5, NOW, UNTIL, None)
    assert row.status == Status.NONE


def test_a_claimed_row_is_not_claimed_again(make_mirror):
    make_mirror()

    assert len(claim()) == 1
    assert claim() == []


def test_the_longest_waiting_are_claimed_first_and_returned_in_that_order(make_mirror):
    soon, late, latest = (make_mirror(next_execution_at=NOW - minutes * MINUTE) for minutes in (1, 5, 9))

    assert [each.mirror_id for each in claim(2)] == [latest.pk, late.pk]
    assert [each.mirror_id for each in claim()] == [soon.pk]


def test_rows_due_at_the_same_instant_are_claimed_in_a_fixed_order_and_none_is_skipped(make_mirror):
    mirrors = [make_mirror() for _ in range(5)]

    taken = [each.mirror_id for _ in range(3) for each in claim(2)]

    assert taken == [mirror.pk for mirror in mirrors]


def test_the_limit_is_kept_and_none_means_nothing(make_mirror):
    for _ in range(3):
        make_mirror()

    assert claim(0) == claim(-1) == []
    assert len(claim(2)) == 2


def test_what_is_due_later_is_not_claimed_before_its_time(make_mirror):
    make_mirror(next_execution_at=NOW + MINUTE)

    assert claim() == []
    assert len(claim(now=NOW + MINUTE)) == 1


@pytest.mark.parametrize("state", [{"active": False}, {"hard_failed": True}])
def test_a_row_without_a_due_time_is_never_claimed(make_mirror, state):
    make_mirror(**state)

    assert claim(now=NOW + timedelta(days=9999)) == []


def test_an_urgent_row_goes_before_every_backlog(make_mirror):
    make_mirror(next_execution_at=NOW - timedelta(days=400))
    asked = make_mirror(next_execution_at=NOW + timedelta(days=1))
    ImportState.objects.filter(pk=asked.pk).ask_now(now=NOW)

    assert [each.mirror_id for each in claim(1)] == [asked.pk]


def test_a_token_names_its_claim_and_back():
    taken = Claim(mirror_id=12, epoch=34)

    assert taken.token == "12:34"
    assert Claim.of_token("12:34") == taken


# -- give back ------------------------------------------------------------------------------------------------------


def test_a_claim_that_is_given_back_is_due_as_before(make_mirror):
    mirror, taken = claimed(make_mirror)

    assert ImportState.objects.give_back([taken], now=NOW) == 1

    row = state_of(mirror)
    assert (row.claimed_at, row.claim_expires_at, row.import_due_at) == (None, None, NOW - MINUTE)
    assert row.epoch == taken.epoch


def test_an_urgent_claim_that_is_given_back_is_urgent_still(make_mirror):
    waiting = make_mirror(next_execution_at=NOW - timedelta(days=400))
    mirror, taken = make_mirror(next_execution_at=NOW + MINUTE), None
    ImportState.objects.filter(pk=mirror.pk).ask_now(now=NOW)
    [taken] = claim(1)

    ImportState.objects.give_back([taken], now=NOW)

    assert [each.mirror_id for each in claim()] == [mirror.pk, waiting.pk]


def test_an_urgent_claim_that_is_given_back_has_its_old_place(make_mirror):
    mirrors = [make_mirror() for _ in range(2)]
    for minutes, mirror in enumerate(mirrors):
        ImportState.objects.filter(pk=mirror.pk).ask_now(now=NOW + minutes * MINUTE)
    later = NOW + 5 * MINUTE
    [taken] = claim(1, now=later)

    ImportState.objects.give_back([taken], now=later)

    assert [claim(1, now=later)[0].mirror_id for _ in mirrors] == [mirror.pk for mirror in mirrors]


def test_a_mirror_in_flight_is_not_given_back(make_mirror):
    mirror, taken = claimed(make_mirror)
    ImportState.objects.schedule(taken, now=NOW, until=UNTIL)

    assert ImportState.objects.give_back([taken], now=NOW) == 0
    assert state_of(mirror).claim_expires_at == UNTIL


def test_a_claim_of_an_older_epoch_gives_nothing_back(make_mirror):
    mirror, taken = claimed(make_mirror)

    assert ImportState.objects.give_back([Claim(mirror.pk, taken.epoch - 1)], now=NOW) == 0
    assert ImportState.objects.give_back([Claim(mirror.pk + 1, taken.epoch)], now=NOW) == 0
    assert state_of(mirror).import_due_at is None


def test_a_paused_mirror_that_is_given_back_is_not_due(make_mirror):
    mirror, taken = claimed(make_mirror)
    ImportState.objects.filter(pk=mirror.pk).deactivate()

    assert ImportState.objects.give_back([taken], now=NOW) == 1
    assert state_of(mirror).import_due_at is None


def test_giving_back_twice_returns_the_row_once(make_mirror):
    _, taken = claimed(make_mirror)

    assert [ImportState.objects.give_back([taken], now=NOW) for _ in range(2)] == [1, 0]


def test_more_claims_than_fit_in_a_statement_are_given_back_and_renewed(make_mirror):
    taken = [Claim(mirror_id=number, epoch=1) for number in range(10_000, 11_200)]
    _, mine = claimed(make_mirror)
    _, theirs = claimed(make_mirror)
    ImportState.objects.schedule(theirs, now=NOW, until=UNTIL)

    assert ImportState.objects.renew([*taken, theirs], now=NOW, until=UNTIL + LEASE) == {theirs}
    assert ImportState.objects.give_back([*taken, mine], now=NOW) == 1


# -- renewal --------------------------------------------------------------------------------------------------------


def in_flight(make_mirror, **state):
    return make_mirror(**{"status": "started", "epoch": 3, "claim_expires_at": UNTIL, **state})


@pytest.mark.parametrize("status", ["scheduled", "started"])
def test_a_claim_in_flight_is_renewed(make_mirror, status):
    mirror = in_flight(make_mirror, status=status)
    held = Claim(mirror.pk, 3)

    assert ImportState.objects.renew([held], now=NOW, until=NOW + 2 * LEASE) == {held}
    assert state_of(mirror).claim_expires_at == NOW + 2 * LEASE


@pytest.mark.parametrize(
    "state",
    [
        {"claim_expires_at": NOW},
        {"epoch": 4},
        {"active": False},
        {"cancel_requested": True},
        {"status": "none"},
        {"status": "failed"},
    ],
    ids=["expired", "other epoch", "paused", "called off", "before the door", "at rest"],
)
def test_a_claim_that_no_longer_stands_in_flight_is_not_renewed(make_mirror, state):
    mirror = in_flight(make_mirror, **state)
    before = state_of(mirror).claim_expires_at

    assert ImportState.objects.renew([Claim(mirror.pk, 3)], now=NOW, until=NOW + 2 * LEASE) == set()
    assert state_of(mirror).claim_expires_at == before


# -- races ----------------------------------------------------------------------------------------------------------


def in_threads(count, work):
    """Run `work(number)` in threads with connections of their own, all let go at once; return what they returned."""
    barrier, results, errors = threading.Barrier(count), [None] * count, []

    def run(number):
        try:
            connection.ensure_connection()
            barrier.wait()
            results[number] = work(number)
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    return results


@pytest.mark.django_db(transaction=True)
def test_of_many_claimers_at_once_no_two_get_the_same_row_and_none_is_left():
    mirrors = {build_mirror().pk for _ in range(60)}

    def drain(_number):
        taken = []
        while batch := claim(3):
            taken += batch
        return taken

    taken = [each for drained in in_threads(6, drain) for each in drained]

    assert sorted(each.mirror_id for each in taken) == sorted(mirrors)
    assert {each.epoch for each in taken} == {1}
    assert set(ImportState.objects.values_list("epoch", flat=True)) == {1}


@pytest.mark.django_db(transaction=True)
def test_of_many_that_schedule_the_same_claim_at_once_one_gets_it():
    for _ in range(10):
        build_mirror()
        [taken] = claim(1)

        won = in_threads(4, lambda _: ImportState.objects.schedule(taken, now=NOW, until=UNTIL))  # noqa: B023

        assert sorted(won) == [False, False, False, True]


# -- between hosts --------------------------------------------------------------------------------------------------

BOUNDS = Bounds(start=2, ceiling=6)


def of(host, count=1, **state):
    return [build_mirror(url=f"https://{host}.example/x.git", **state) for _ in range(count)]


def set_host(name, **values):
    Host.objects.filter(name=f"{name}.example").update(**values)


def hosts_of(claims):
    names = dict(Host.objects.values_list("pk", "name"))
    return [names[each.host_id].removesuffix(".example") for each in claims]


@pytest.fixture
def long_line(db):
    """Thirty mirrors of one host that have waited for days."""
    return of("big", 30, next_execution_at=NOW - timedelta(days=3))


def test_one_of_each_host_is_served_before_the_second_of_any(long_line):
    of("small", 2)
    of("tiny", 1)

    assert hosts_of(claim(5)) == ["big", "small", "tiny", "big", "small"]


def test_a_batch_is_filled_from_one_line_if_the_others_are_short(long_line):
    tiny = [f"tiny-{number}" for number in range(5)]
    for host in tiny:
        of(host, 1)

    # Of a line that so many share places with, four are read at first: one place would stay empty.
    assert sorted(hosts_of(claim(10))) == ["big"] * 5 + tiny


def test_what_a_host_holds_already_counts_as_its_turns(long_line):
    claim(3)
    of("small", 5)

    assert hosts_of(claim(3)) == ["small"] * 3
    assert hosts_of(claim(2)) == ["big", "small"]


def test_a_host_gets_no_more_than_it_has_earned(long_line):
    set_host("big", slots=4)

    assert len(claim(bounds=BOUNDS)) == 4
    assert claim(bounds=BOUNDS) == []


def test_a_new_host_begins_with_few(db):
    of("new", 5)
    set_host("new", slots=None)

    assert len(claim(bounds=BOUNDS)) == 2


def test_no_host_gets_more_than_its_share_however_much_it_earned(long_line):
    assert len(claim(20, bounds=BOUNDS)) == 6


def test_what_a_person_allows_bounds_a_host_also_where_it_earns_nothing(long_line):
    set_host("big", max_slots=1)

    assert len(claim(bounds=BOUNDS)) == 1
    assert claim(bounds=Bounds(start=2, ceiling=6, adaptive=False)) == []


def test_a_host_that_cools_is_left_out_until_then_however_many_wait(long_line):
    of("small", 1)
    set_host("big", cooling_until=NOW + MINUTE)

    assert hosts_of(claim(10, bounds=BOUNDS)) == ["small"]
    assert claim(10, bounds=BOUNDS) == []
    assert len(claim(10, now=NOW + MINUTE, bounds=BOUNDS)) == 6


def test_where_hosts_earn_nothing_they_are_bound_by_the_share_alone(long_line):
    set_host("big", slots=1, cooling_until=NOW + MINUTE)

    assert len(claim(20, bounds=Bounds(start=2, ceiling=6, adaptive=False))) == 6


def test_claims_that_ran_out_are_not_held_against_their_host(long_line):
    claim(6, bounds=BOUNDS)

    assert len(claim(10, now=UNTIL, bounds=BOUNDS)) == 6


def test_what_is_queued_is_held_against_its_host_where_the_queue_is_charged(long_line):
    taken = claim(6, bounds=BOUNDS)
    ImportState.objects.schedule(taken[0], now=NOW, until=UNTIL)

    assert claim(10, bounds=BOUNDS) == []
    assert len(claim(10, bounds=BOUNDS, charges=False)) == 5


def test_all_that_is_urgent_goes_before_every_turn(long_line):
    of("small", 3)
    asked = of("other", 3, next_execution_at=NOW + timedelta(days=1))
    ImportState.objects.filter(pk__in=[mirror.pk for mirror in asked]).ask_now(now=NOW)

    assert [each.mirror_id for each in claim(4)][:3] == [mirror.pk for mirror in asked]


def test_the_urgent_of_one_host_need_not_wait_for_the_turns_of_many_others(db):
    for number in range(12):
        of(f"host-{number}", 2)
    asked = of("other", 4, next_execution_at=NOW + timedelta(days=1))
    ImportState.objects.filter(pk__in=[mirror.pk for mirror in asked]).ask_now(now=NOW)

    assert {each.mirror_id for each in claim(6)} > {mirror.pk for mirror in asked}


def test_an_urgent_mirror_waits_for_its_host_like_any_other(db):
    [asked] = of("busy")
    set_host("busy", cooling_until=NOW + MINUTE)
    ImportState.objects.filter(pk=asked.pk).ask_now(now=NOW)

    assert claim(bounds=BOUNDS) == []
    assert len(claim(now=NOW + MINUTE, bounds=BOUNDS)) == 1


def test_a_first_clone_goes_before_others_of_its_host_but_not_before_the_long_waiting(db):
    new = {"last_successful_update_at": None}
    late, soon = (
        of("h", next_execution_at=NOW - timedelta(hours=6)),
        of("h", next_execution_at=NOW - 5 * MINUTE),
    )
    first = of("h", next_execution_at=NOW, import_due_at=NOW - FIRST_HEAD_START, **new)

    assert [each.mirror_id for each in claim()] == [late[0].pk, first[0].pk, soon[0].pk]


def test_a_first_clone_that_is_given_back_keeps_its_place(db):
    [first] = of("h", next_execution_at=NOW, last_successful_update_at=None)
    [taken] = claim()

    ImportState.objects.give_back([taken], now=NOW)

    assert state_of(first).import_due_at == NOW - FIRST_HEAD_START


def test_rows_without_end_of_a_host_that_cools_hold_up_nobody(long_line):
    set_host("big", cooling_until=NOW + MINUTE)
    of("small", 3)

    taken = [hosts_of(claim(1, bounds=BOUNDS)) for _ in range(3)]

    assert taken == [["small"]] * 3
