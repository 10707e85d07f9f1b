"""The admin of credentials: a secret goes in, and no page of the server ever holds it."""

from datetime import timedelta

import pytest

from mirroring import catalog
from mirroring.models import Credential, CredentialKind, ImportState
from mirroring.tracker.connection import present
from tests.catalog.test_credentials import keys_file  # noqa: F401
from tests.web.test_admin_pages import text_of

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]

LIST = "/admin/mirroring/credential/"
SECRET = "correct horse battery staple"


def form(**changes):
    fields = {"name": "robot", "kind": "password", "hosts": "h.example", "secret": SECRET, "username": "bot"}
    return {**fields, **changes}


@pytest.fixture
def kept():
    given = catalog.Given(secret=SECRET, hosts=("h.example",), username="bot")
    kind = CredentialKind.PASSWORD
    return catalog.add_credential("robot", kind=kind, given=given, group=None, by="test", now=present())


def change(client, row, **changes):
    fields = {"hosts": "h.example", "username": "bot", "secret": "", **changes}
    return client.post(f"{LIST}{row.pk}/change/", fields, follow=True)


def test_a_secret_is_kept_and_on_no_page(signed_in):
    pages = [signed_in.post(f"{LIST}add/", form(), follow=True)]

    row = Credential.objects.get()
    assert (row.secret(), row.changed_by) == ({"password": SECRET}, "admin:operator")
    parts = ("", f"{row.pk}/change/", f"{row.pk}/history/", f"{row.pk}/delete/", "?q=robot")
    pages += [signed_in.get(f"{LIST}{part}") for part in parts]
    assert [page.status_code for page in pages] == [200] * 6
    assert not [page for page in pages if b"horse" in page.content]


def test_a_secret_that_was_typed_is_not_shown_beside_an_error(signed_in):
    answer = signed_in.post(f"{LIST}add/", form(hosts=""))

    assert b"This field is required" in answer.content
    assert b"horse" not in answer.content


def test_a_refusal_is_a_message(signed_in):
    answer = signed_in.post(f"{LIST}add/", form(hosts="a b"), follow=True)

    assert "is no host" in text_of(answer)
    assert not Credential.objects.exists()


def test_a_new_secret_is_taken_and_wakes_the_refused_mirrors(signed_in, kept):
    mirror = catalog.add(
        catalog.want("https://h.example/a/b", credential=kept), now=present(), wake=lambda: None
    )
    ImportState.objects.update(last_outcome="auth", hard_failed=True, import_due_at=None)

    answer = change(signed_in, kept, secret="another secret")

    assert "Imported because of the new secret: 1 mirror" in text_of(answer)
    assert Credential.objects.get().secret() == {"password": "another secret"}
    assert not ImportState.objects.get(pk=mirror.pk).hard_failed


@pytest.mark.parametrize("field", ["hosts", "username", "api_url"])
def test_a_kept_secret_is_sent_nowhere_else_by_who_does_not_know_it(signed_in, kept, field):
    answer = change(signed_in, kept, **{field: "evil.example"})

    assert "Give the secret anew" in text_of(answer)
    assert Credential.objects.get().hosts == ["h.example"]


def test_the_end_is_changed_without_the_secret_and_shown_with_a_warning(signed_in, kept):
    soon = present() + timedelta(days=3)
    change(signed_in, kept, expires_at_0=f"{soon:%Y-%m-%d}", expires_at_1="00:00:00")

    assert Credential.objects.get().secret() == {"password": SECRET}
    assert "ends soon" in text_of(signed_in.get(LIST))
    assert "ends soon" in text_of(signed_in.get(f"{LIST}{kept.pk}/change/"))


def test_an_ssh_key_is_made_and_its_public_half_shown(signed_in):
    fields = form(kind="ssh-key", secret="", generate="on")
    signed_in.post(f"{LIST}add/", fields)

    row = Credential.objects.get()
    text = text_of(signed_in.get(f"{LIST}{row.pk}/change/"))
    assert row.public_key in text
    assert row.fingerprint in text
    assert "PRIVATE KEY" not in text


def test_a_mirror_is_given_a_credential_and_shows_it(signed_in, kept):
    mirror = catalog.add(catalog.want("https://h.example/a/b"), now=present(), wake=lambda: None)
    fields = {"group": mirror.group.pk, "name": "b", "url": mirror.url, "ref_selection": "default"}
    fields["on_divergence"] = "overwrite"
    address = f"/admin/mirroring/mirror/{mirror.pk}/change/"
    history = {"attempts-TOTAL_FORMS": 0, "attempts-INITIAL_FORMS": 0}

    signed_in.post(address, {**fields, **history, "credential": kept.pk})

    mirror.refresh_from_db()
    assert mirror.credential == kept
    assert "Credential robot" in text_of(signed_in.get(address))


def test_the_list_of_mirrors_shows_credentials_and_is_narrowed_by_them(signed_in, kept):
    catalog.add(catalog.want("https://h.example/a/open"), now=present(), wake=lambda: None)
    closed = catalog.want("https://h.example/a/closed", credential=kept)
    catalog.add(closed, now=present(), wake=lambda: None)

    whole = text_of(signed_in.get("/admin/mirroring/mirror/"))
    narrowed = text_of(signed_in.get("/admin/mirroring/mirror/", {"credential": kept.pk}))

    assert "2 mirrors" in whole
    assert "1 mirror " in narrowed
    assert "closed" in narrowed
    assert "robot" in whole
    assert SECRET not in whole + narrowed


def test_a_credential_in_use_is_not_deleted(signed_in, kept):
    catalog.add(catalog.want("https://h.example/a/b", credential=kept), now=present(), wake=lambda: None)

    signed_in.post(f"{LIST}{kept.pk}/delete/", {"post": "yes"})

    assert Credential.objects.exists()


@pytest.mark.parametrize("address", [LIST, f"{LIST}add/"])
def test_who_is_not_signed_in_sees_nothing(client, address):
    assert client.get(address).status_code == 302
