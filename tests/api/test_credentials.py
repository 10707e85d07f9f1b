"""`/api/credentials`: who may, what goes in, and that no answer holds a secret."""

import json
from datetime import UTC, datetime

import pytest

from mirroring.models import Credential
from mirroring.models.api_token import ApiToken, Scope
from tests.catalog.test_credentials import keys_file  # noqa: F401

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]

URL = "/api/credentials"
SECRET = "correct horse battery staple"
NEW = {"name": "robot", "kind": "password", "hosts": ["h.example"], "secret": SECRET}


@pytest.fixture
def call(client):
    """Return a function that sends a request with a token of some scopes."""

    def send(method, address=URL, body=None, *, scopes=(Scope.WRITE_CREDENTIALS,)):
        _, token = ApiToken.issue(
            f"t{ApiToken.objects.count()}",
            scopes=scopes,
            by="test",
            now=datetime.now(tz=UTC),
            expires_at=None,
        )
        return client.generic(
            method,
            address,
            json.dumps(body) if body is not None else "",
            content_type="application/json",
            headers={"PRIVATE-TOKEN": token},
        )

    return send


def test_a_credential_is_kept_shown_replaced_and_removed_without_its_secret(call):
    answers = [
        call("POST", body=NEW),
        call("GET"),
        call("GET", f"{URL}/robot"),
        call("PATCH", f"{URL}/robot", {"expires_at": "2027-01-31"}),
        call("PUT", f"{URL}/robot", {"secret": "another horse"}),
    ]
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 200]
    assert Credential.objects.get().secret() == {"password": "another horse"}
    answers.append(call("DELETE", f"{URL}/robot"))
    assert answers[-1].status_code == 204
    assert not [answer for answer in answers if b"horse" in answer.content]
    assert answers[3].json()["expires_at"].startswith("2027-01-31")


@pytest.mark.parametrize(
    ("scopes", "method", "status"),
    [
        ((Scope.READ_CREDENTIALS,), "GET", 200),
        ((Scope.WRITE_CREDENTIALS,), "GET", 200),
        ((Scope.READ_CREDENTIALS,), "POST", 403),
        ((Scope.WRITE_FLAGS, Scope.CHATOPS, Scope.READ_FLAGS), "GET", 403),
        ((Scope.WRITE_FLAGS, Scope.CHATOPS, Scope.READ_FLAGS), "POST", 403),
    ],
)
def test_a_scope_opens_what_it_names(call, scopes, method, status):
    assert call(method, body=NEW if method == "POST" else None, scopes=scopes).status_code == status


def test_a_token_for_credentials_opens_no_flags(call):
    assert call("GET", "/api/flags", scopes=(Scope.WRITE_CREDENTIALS,)).status_code == 403


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hosts": []}, "which host"),
        ({"hosts": "h.example"}, "must be a list"),
        ({"kind": "other"}, "kind must be one of"),
        ({"secret": ["x"]}, "must be a text"),
        ({"passphrase": SECRET}, "unknown field"),
        ({"expires_at": "soon"}, "must be a date"),
        ({"name": "no-group/robot"}, "There is no group"),
        ({"secret": f"{SECRET}\n{SECRET}"}, "one line"),
    ],
)
def test_a_refusal_says_what_is_wrong_and_repeats_no_secret(call, changes, said):
    answer = call("POST", body={**NEW, **changes})

    assert answer.status_code in {400, 404}
    assert said in answer.json()["message"]
    assert b"horse" not in answer.content


def test_where_a_secret_is_sent_is_changed_with_the_secret_only(call):
    call("POST", body=NEW)

    assert call("PATCH", f"{URL}/robot", {"hosts": ["evil.example"]}).status_code == 400
    assert call("PUT", f"{URL}/robot", {"hosts": ["evil.example"]}).status_code == 400
    assert Credential.objects.get().hosts == ["h.example"]


def test_an_unknown_credential_is_not_found(call):
    assert call("GET", f"{URL}/nothing").status_code == 404
