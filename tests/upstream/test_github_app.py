"""Installation tokens of a GitHub App, asked of a double that checks every signature for real."""

import socket
import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from mirroring import catalog
from mirroring.models import Credential, CredentialKind
from mirroring.rules.outcomes import Outcome
from mirroring.upstream.access import unsealing
from mirroring.upstream.errors import CredentialUnusable, GitError
from mirroring.upstream.policy import urls
from tests.catalog.test_credentials import keys_file  # noqa: F401
from tests.lab.github_api import GitHubAPI, new_key

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]

URL = urls.parse("https://github.example/team/project.git")
MINUTES = timedelta(minutes=1)


@pytest.fixture(scope="module")
def private_key():
    return new_key()


@pytest.fixture
def api(private_key):
    with GitHubAPI(private_key=private_key) as running:
        yield running


@pytest.fixture
def app(api, private_key):
    given = catalog.Given(
        secret=private_key,
        hosts=(URL.host,),
        app_id=api.app_id,
        installation_id=api.installation,
        api_url=api.url,
        allow_http=True,
    )
    return catalog.add_credential(
        "app", kind=CredentialKind.GITHUB_APP, given=given, group=None, by="test", now=clock()
    )


def clock():
    return datetime.now(tz=UTC)


def secret_of(app, *, now=None, minutes=10):
    row = Credential.objects.get(pk=app.pk)
    return unsealing.secret_for(row, url=URL, now=now or clock(), valid_for=minutes * MINUTES)


def test_a_token_is_had_by_a_signed_request_and_kept_sealed(api, app):
    secret = secret_of(app)

    assert (secret.username, secret.password, api.problems) == ("x-access-token", api.issued[0], [])
    row = Credential.objects.get()
    assert row.token() == api.issued[0]
    assert api.issued[0] not in row.sealed_token


def test_a_kept_token_is_used_while_it_outlives_the_job(api, app):
    first, second = secret_of(app), secret_of(app)

    assert first.password == second.password
    assert len(api.issued) == 1


def test_a_token_that_would_end_during_the_job_is_replaced(api, app):
    secret_of(app)
    Credential.objects.update(token_expires_at=clock() + 30 * MINUTES)

    assert secret_of(app, minutes=20).password == api.issued[0]
    assert secret_of(app, minutes=30).password == api.issued[1]


def test_a_job_that_outlasts_every_token_is_told_until_when_it_may_run(api, app):
    secret = secret_of(app, minutes=300)

    assert 55 * MINUTES < secret.valid_until - clock() < 60 * MINUTES
    assert (
        secret_of(app, minutes=300).password == secret.password
    )  # Made just now: no better one is to be had.


def test_another_key_is_refused_by_the_signature(api, app):
    given = catalog.Given(secret=new_key())
    catalog.replace_credential(app, given=given, by="test", now=clock(), wake=lambda: None)

    with pytest.raises(CredentialUnusable, match=r"401 \(A JSON web token could not be decoded\)") as refused:
        secret_of(app)

    assert refused.value.outcome is Outcome.AUTH


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ((403, {}, b'{"message": "Resource not accessible by integration"}'), Outcome.AUTH),
        ((404, {}, b"not JSON"), Outcome.AUTH),
        ((403, {"X-RateLimit-Remaining": "0"}, b"{}"), Outcome.TRANSIENT),
        ((429, {"Retry-After": "60"}, b"{}"), Outcome.TRANSIENT),
        ((500, {}, b""), Outcome.TRANSIENT),
        ((201, {}, b"{}"), Outcome.TRANSIENT),
        ((201, {}, b'{"token": "two\\nlines", "expires_at": "2999-01-01T00:00:00Z"}'), Outcome.TRANSIENT),
        ((201, {}, b'"' + b"x" * 100_000 + b'"'), Outcome.TRANSIENT),
    ],
)
def test_an_answer_without_token_has_its_class(api, app, answer, outcome):
    api.answer = answer

    with pytest.raises(GitError) as refused:
        secret_of(app)

    assert refused.value.outcome is outcome
    assert not Credential.objects.get().token()


def test_the_signed_request_does_not_follow_a_redirect(api, app, private_key):
    with GitHubAPI(private_key=private_key) as elsewhere:
        api.answer = (307, {"Location": elsewhere.url}, b"")
        with pytest.raises(GitError):
            secret_of(app)

    assert not elsewhere.asked


def test_an_api_that_cannot_be_reached_is_no_fault_of_the_credential(api, app):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # Taken, and not listened on.
        Credential.objects.update(api_url=f"http://127.0.0.1:{nobody.getsockname()[1]}")

        with pytest.raises(GitError) as failed:
            secret_of(app)

    assert failed.value.outcome is Outcome.TRANSIENT


def test_an_api_on_a_private_network_is_under_the_same_policy(api, app, settings):
    from mirroring.upstream.policy.guard import AllowList

    settings.ALLOW_PRIVATE_UPSTREAMS = AllowList.parse([])

    with pytest.raises(GitError) as refused:
        secret_of(app)

    assert refused.value.outcome is Outcome.BLOCKED
    assert not api.asked


@pytest.mark.django_db(transaction=True)
def test_imports_that_start_at_once_ask_for_one_token(api, app):
    def ask():
        secret_of(app)
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(api.issued) == 1


@pytest.mark.django_db(transaction=True)
def test_a_token_of_the_old_key_is_not_kept_beside_a_new_one(api, app, private_key):
    row = Credential.objects.get()
    given = catalog.Given(secret=private_key)
    names = api.names
    api.names = lambda number: replace_meanwhile(app, given) or names(number)

    unsealing.secret_for(row, url=URL, now=clock(), valid_for=MINUTES)

    assert not Credential.objects.get().token()


def replace_meanwhile(app, given):
    """Replace the secret in the thread of the API, as somebody would in another process."""
    try:
        row = Credential.objects.get(pk=app.pk)
        row.set_secret(private_key=given.secret)
        row.save()
    finally:
        connection.close()
