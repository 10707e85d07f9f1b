"""Rows that may not or cannot be asked: each is imported, and none stands in the way of the others of its batch."""

import time
from dataclasses import replace
from datetime import timedelta

import pytest

from mirroring import catalog
from mirroring.models import CredentialKind, Host, ImportState
from mirroring.scheduler.check_rows import Batch, Patience, read_rows
from tests.lab.github_api import GitHubAPI, new_key
from tests.making import state_of

DAY = timedelta(days=1)


def elsewhere(fleet):
    """Return a URL of the same upstream under another name, and so of another host."""
    return fleet.upstream.url_of("a").replace("127.0.0.1", "localhost")


def kept(fleet, kind, given):
    return catalog.add_credential(
        "kept", kind=kind, given=given, group=None, by="test", now=fleet.tracker.now()
    )


@pytest.fixture
def batch(fleet):
    """Return a function that makes the batch of a mirror's row, and the row."""

    def make(mirror):
        now = fleet.tracker.now()
        lease = now + timedelta(minutes=1)
        ImportState.objects.filter(pk=mirror.pk).update(check_due_at=lease)
        rows = read_rows([mirror.pk], now=now, lease=lease)
        patience = Patience(until=time.monotonic() + 10, seconds=10)
        return Batch.of(rows, hosts={}, now=now, valid_for=timedelta(minutes=1), patience=patience), rows[0]

    return make


def test_a_host_whose_files_are_missing_here_keeps_no_other_from_being_asked(fleet):
    well, ill = fleet.mirror(), fleet.mirror(url=elsewhere(fleet))
    Host.objects.filter(pk=ill.host_id).update(ca_bundle="/nowhere/ca.pem")

    counted = fleet.run()

    assert (counted["unchanged"], counted["doubtful: blocked"]) == (1, 1)
    assert state_of(well).check_due_at > fleet.tracker.now()
    assert state_of(ill).import_due_at is not None


def test_a_credential_that_goes_while_a_batch_is_read_costs_its_own_row_only(batch, fleet):
    made, row = batch(fleet.mirror())

    assert made.refused(replace(row, credential_id=4711)) == "doubtful: blocked"
    assert made.refused(row) == ""
    assert [ask.for_whom for ask in made.asks()] == [[row]]


def test_a_secret_that_is_for_https_only_is_not_shown_over_http_for_the_same_host(batch, fleet):
    given = catalog.Given(secret="for-https-only", username="u", hosts=("127.0.0.1",))
    made, row = batch(fleet.mirror(credential=kept(fleet, CredentialKind.PASSWORD, given)))

    assert made.refused(replace(row, url="https://127.0.0.1/a.git")) == ""
    assert made.refused(replace(row, url="http://127.0.0.1/a.git")) == "doubtful: blocked"


def test_a_check_has_no_token_made(fleet):
    key = new_key()
    with GitHubAPI(private_key=key) as api:
        given = catalog.Given(
            secret=key,
            hosts=(f"127.0.0.1:{fleet.upstream.port}",),
            app_id=api.app_id,
            installation_id=api.installation,
            api_url=api.url,
            allow_http=True,
        )
        mirror = fleet.mirror(credential=kept(fleet, CredentialKind.GITHUB_APP, given))

        assert fleet.run()["doubtful: blocked"] == 1

        assert state_of(mirror).import_due_at is not None
        assert api.asked == []


@pytest.mark.parametrize(("days", "reason"), [(6, "unchanged"), (8, "retried")])
def test_a_mirror_is_imported_unasked_once_a_week_for_a_check_does_not_look_at_the_disk(fleet, days, reason):
    mirror = fleet.mirror()
    ImportState.objects.update(last_update_at=fleet.tracker.now() - days * DAY)

    assert fleet.run()[reason] == 1

    assert (state_of(mirror).import_due_at is not None) == (reason == "retried")


@pytest.mark.parametrize(("adaptive", "checked"), [(True, 0), (False, 1)])
def test_a_host_is_let_cool_only_where_limits_follow_its_answers(fleet, configure, adaptive, checked):
    configure(mirror_host_adaptive=adaptive)
    mirror = fleet.mirror()
    Host.objects.filter(pk=mirror.host_id).update(cooling_until=fleet.tracker.now() + DAY)

    assert fleet.run()["unchanged"] == checked
