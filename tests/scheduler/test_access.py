"""Credentials in imports: what the upstream is shown, and what becomes of a mirror that is refused."""

import time
from datetime import timedelta

import pytest

from mirroring import catalog
from mirroring.models import Credential, CredentialKind, ImportState
from mirroring.rules.outcomes import Outcome
from mirroring.upstream.policy import urls
from tests.catalog.test_credentials import keys_file  # noqa: F401
from tests.making import heads_and_tags, refs_of, state_of

SECRET = "correct horse battery staple"


@pytest.fixture
def protected(works):
    works.server.behave(works.upstream.name, f"auth:robot:{SECRET}")
    return works


def keep(works, *, secret=SECRET, **given):
    host = urls.parse(works.url).host
    made_of = catalog.Given(secret=secret, username="robot", hosts=(host,), allow_http=True, **given)
    now = works.tracker.now()
    kind = CredentialKind.PASSWORD
    return catalog.add_credential("robot", kind=kind, given=made_of, group=None, by="test", now=now)


def replace(works, row, secret=SECRET):
    given = catalog.Given(secret=secret)
    return catalog.replace_credential(row, given=given, by="test", now=works.tracker.now(), wake=lambda: None)


def test_a_mirror_of_a_protected_upstream_is_imported_and_the_use_noted(protected):
    mirror = protected.mirror(mirror={"credential": keep(protected)})

    assert protected.run(protected.scheduled(mirror)) is Outcome.CHANGED

    assert refs_of(mirror.repository) == heads_and_tags(protected.upstream.path)
    assert Credential.objects.get().last_used_at


def test_a_refused_secret_is_noted_and_a_new_one_makes_the_mirror_due(protected):
    row = keep(protected, secret="wrong password")
    mirror = protected.mirror(mirror={"credential": row})

    assert protected.run(protected.scheduled(mirror)) is Outcome.AUTH

    row.refresh_from_db()
    assert row.last_refused_at
    assert "wrong password" not in row.last_refusal + state_of(mirror).last_error
    assert replace(protected, row).released == 1
    assert protected.run(protected.scheduled(mirror)) is Outcome.CHANGED


def test_a_mirror_that_is_refused_again_rests_until_its_credential_changes(protected):
    row = keep(protected, secret="wrong password")
    mirror = protected.mirror(mirror={"credential": row})
    protected.run(protected.scheduled(mirror))
    protected.run(protected.scheduled(ask_again(protected, mirror)))

    assert state_of(mirror).hard_failed
    assert state_of(mirror).import_due_at is None
    assert replace(protected, row).released == 1
    assert protected.run(protected.scheduled(mirror)) is Outcome.CHANGED


def ask_again(works, mirror):
    """Bring the next import near, as time does."""
    ImportState.objects.filter(pk=mirror.pk).update(import_due_at=works.tracker.now())
    return mirror


@pytest.mark.django_db(transaction=True)
def test_a_secret_that_is_replaced_while_it_is_tried_is_tried_again_at_once(works):
    row = keep(works, secret="wrong password")
    mirror = works.mirror(mirror={"credential": row})
    running = works.running(works.scheduled(mirror), behaviour=f"slow:1+auth:robot:{SECRET}")

    assert replace(works, row).released == 1
    running.join()

    assert state_of(mirror).import_due_at <= works.tracker.now()
    assert not Credential.objects.get().last_refused_at


def test_a_credential_that_has_ended_is_sent_to_nobody(protected):
    row = keep(protected, expires_at=protected.tracker.now() + timedelta(milliseconds=50))
    mirror = protected.mirror(mirror={"credential": row})
    time.sleep(0.06)

    assert protected.run(protected.scheduled(mirror)) is Outcome.AUTH

    assert "ended on" in state_of(mirror).last_error
    assert not protected.asked()


def test_a_credential_is_never_sent_to_a_host_that_it_is_not_bound_to(protected):
    row = keep(protected)
    Credential.objects.update(hosts=["elsewhere.example"])
    mirror = protected.mirror(mirror={"credential": row})

    assert protected.run(protected.scheduled(mirror)) is Outcome.AUTH

    assert "is not sent to 127.0.0.1" in state_of(mirror).last_error
    assert not protected.asked()


def test_a_credential_whose_key_is_lost_says_so(protected, settings, tmp_path):
    mirror = protected.mirror(mirror={"credential": keep(protected)})
    settings.CREDENTIAL_KEYS_FILE = tmp_path / "other keys"

    assert protected.run(protected.scheduled(mirror)) is Outcome.RESOURCE

    assert "restore the keys, or replace it" in state_of(mirror).last_error
    assert not protected.asked()
