"""The audit is complete, cannot be rewritten in silence, and can be carried away."""

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from mirroring.flags import audit, changes
from mirroring.flags.models import Flag
from mirroring.models import FlagChange
from mirroring.models.flag_change import AuditIsKept
from tests.flags.ways import WAYS, open_way
from tests.trial import FIRST, SECOND

pytestmark = pytest.mark.django_db


@pytest.fixture
def history(turn) -> list[FlagChange]:
    """Three changes."""
    turn(FIRST, True, why="to begin with")
    turn(FIRST, False)
    turn(SECOND, True, overrides={"all"}, by="eve")
    return list(FlagChange.objects.order_by("sequence"))


def tamper(statement: str, *values: object) -> None:
    """Write past Django, as somebody with the database's password does."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def faults() -> str:
    return "\n".join(f"{fault.sequence}: {fault.text}" for fault in audit.verify().faults)


@pytest.mark.parametrize("name", WAYS)
def test_every_way_in_leaves_the_same_record(name, client, settings):
    settings.STATIC_ROOT.mkdir(exist_ok=True)
    changes.take_snapshots_from(lambda: {"lag_seconds": 7})
    try:
        open_way(name, client).set(FIRST, True, why="QA was good")
    finally:
        changes._snapshots.clear()

    [entry] = FlagChange.objects.all()
    assert (entry.flag, entry.origin, entry.why) == (FIRST, name, "QA was good")
    assert (entry.before["on"], entry.after["on"]) == (False, True)
    assert entry.by
    assert entry.at
    assert entry.snapshot == {"lag_seconds": 7}
    assert audit.verify().faults == ()


def test_a_change_that_is_refused_writes_neither_row_nor_record(turn):
    with pytest.raises(changes.FlagRefused):
        turn(SECOND, True)

    assert not Flag.objects.exists()
    assert not FlagChange.objects.exists()


def test_a_history_that_nobody_touched_is_whole(history):
    verdict = audit.verify(head=history[0].digest)

    assert (verdict.entries, verdict.head, verdict.faults) == (3, history[-1].digest, ())


def test_an_entry_that_was_changed_is_found(history):
    tamper("UPDATE mirroring_flagchange SET by = 'mallory' WHERE sequence = 2")

    assert "2: its fields were changed after it was written" in faults()


def test_a_change_freeze_is_in_the_audit_and_cannot_be_ended_past_it():
    from mirroring.flags import freezing
    from mirroring.models import ChangeFreeze

    now = datetime.now(tz=UTC)
    freezing.begin("the quarter ends", by="ada", origin="cli", now=now)
    entry = FlagChange.objects.first()
    assert (entry.by, entry.origin, entry.why) == ("ada", "cli", "the quarter ends")
    assert entry.after["freeze"]["reason"] == "the quarter ends"
    assert audit.verify().faults == ()

    ChangeFreeze.end(by="eve", now=now)
    assert ["the change freeze is other" in fault.text for fault in audit.verify().faults] == [True]


def test_the_end_of_a_change_freeze_is_in_the_audit_too():
    from mirroring.flags import freezing

    now = datetime.now(tz=UTC)
    assert not freezing.end(by="ada", origin="cli", now=now)
    freezing.begin("the quarter ends", by="ada", origin="cli", now=now)
    freezing.begin("another reason", by="eve", origin="cli", now=now)
    assert freezing.end(by="bob", origin="chatops", why="it has ended", now=now)

    assert [(entry.by, entry.after["freeze"] is None) for entry in FlagChange.objects.all()] == [
        ("bob", True),
        ("ada", False),
    ]
    assert audit.verify().faults == ()


@pytest.mark.parametrize("field", ["why", "origin", "flag"])
def test_every_field_is_covered(history, field):
    tamper(f"UPDATE mirroring_flagchange SET {field} = 'other' WHERE sequence = 1")

    assert "1: its fields were changed" in faults()


@pytest.mark.parametrize("field", ["before", "after", "overrides", "gates", "snapshot"])
def test_every_field_of_json_is_covered(history, field):
    tamper(f"UPDATE mirroring_flagchange SET {field} = '[1]' WHERE sequence = 1")

    assert "1: its fields were changed" in "\n".join(
        f"{number}: {text}"
        for number, entry in enumerate(FlagChange.objects.order_by("sequence"), start=1)
        for text in audit._faults(entry, number, entry.previous)
    )


def test_an_entry_that_was_taken_out_is_found(history):
    tamper("DELETE FROM mirroring_flagchange WHERE sequence = 2")

    assert "3: it does not follow the entry before it" in faults()


def test_a_chain_made_anew_without_the_key_is_found(history, settings):
    entry = history[-1]
    settings.SECRET_KEY, kept = "another key", settings.SECRET_KEY
    forged = audit._seal(entry.digest, key=settings.SECRET_KEY)
    settings.SECRET_KEY = kept
    tamper("UPDATE mirroring_flagchange SET seal = %s WHERE sequence = 3", forged)

    assert "3: it was sealed with another key" in faults()


def test_a_key_that_was_changed_in_order_is_no_fault(history, settings):
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "a new key"

    assert faults() == ""


def test_an_audit_that_was_cut_shows_at_the_rows_and_at_the_head_kept_elsewhere(history):
    tamper("DELETE FROM mirroring_flagchange WHERE sequence = 3")

    assert f"the row of {SECOND} says other than its last entry" in faults()
    [gone] = [fault for fault in audit.verify(head=history[-1].digest).faults if "is gone" in fault.text]
    assert history[-1].digest in gone.text


def test_a_row_that_was_written_past_the_audit_is_found(history):
    Flag.objects.filter(name=FIRST).update(active=True)

    assert f"the row of {FIRST} says other than its last entry" in faults()


def test_a_renewed_lease_is_no_fault(turn):
    now = datetime.now(tz=UTC)
    turn(FIRST, True, on_until=now + timedelta(minutes=1))
    assert changes.renew_lease(FIRST, now + timedelta(minutes=2), now=now)

    assert faults() == ""


def test_the_model_takes_no_change_and_no_deletion(history):
    for forbidden in (
        history[0].save,
        history[0].delete,
        FlagChange.objects.all().delete,
        lambda: FlagChange.objects.update(by="mallory"),
    ):
        with pytest.raises(AuditIsKept):
            forbidden()


def test_an_export_holds_all_it_takes_to_check_the_chain_elsewhere(history):
    import hashlib

    previous = "0" * 64
    for text in audit.export():
        entry = json.loads(text)
        digest, seal = entry.pop("digest"), entry.pop("seal")
        canonical = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        assert entry["previous"] == previous
        assert hashlib.sha256(canonical.encode()).hexdigest() == digest
        assert len(seal) == 64
        previous = digest

    assert previous == history[-1].digest


def test_a_snapshot_that_cannot_be_had_keeps_no_flag_on(turn):
    def broken():
        raise RuntimeError("no sample")

    turn(FIRST, True)
    changes.take_snapshots_from(broken)
    try:
        entry = turn(FIRST, False)
    finally:
        changes._snapshots.clear()

    assert (entry.after["on"], entry.snapshot) == (False, {})


@pytest.mark.parametrize(
    "value", [1e20, 1.0, -0.0, 1e-9, 0.1 + 0.2, float("nan"), float("inf"), None, "x", [1.0]]
)
def test_a_snapshot_is_sealed_as_every_database_gives_it_back(turn, value):
    from mirroring.flags.changes import Origin, change_flag
    from mirroring.flags.moves import Change

    change_flag(FIRST, Change(on=False), by="ada", origin=Origin.CLI, why="", snapshot={"lag_seconds": value})

    assert faults() == ""


READ_ONLY = {"sqlite": ("PRAGMA query_only = 1", "PRAGMA query_only = 0")}
READ_ONLY["postgresql"] = tuple(f"SET default_transaction_read_only = {value}" for value in ("on", "off"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", WAYS)
def test_a_database_that_takes_nothing_is_a_clear_refusal_by_every_way(name, client, settings):
    settings.STATIC_ROOT.mkdir(exist_ok=True)
    way = open_way(name, client)
    assert way.set(FIRST, True).ok
    before, after = READ_ONLY[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(before)
    try:
        refused = way.set(FIRST, False)
    finally:
        with connection.cursor() as cursor:
            cursor.execute(after)

    assert not refused.ok
    assert "database" in refused.text.lower()
    assert Flag.objects.get(name=FIRST).active
    assert FlagChange.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_writers_at_the_same_time_make_one_chain(turn):
    broken = []

    def write(name):
        try:
            for number in range(5):
                turn(name, number % 2 == 0, overrides={"all"})
        except Exception as error:
            broken.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(name,)) for name in (FIRST, SECOND, FIRST)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [error for error in broken if "are being changed by others" not in str(error)] == []
    assert audit.verify().faults == ()
    assert audit.verify().entries >= 5
