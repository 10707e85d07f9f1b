"""P8 in one process: real imports with canary secrets, and every place that they could have leaked to searched.

The whole stack is searched by `python -m tests.acceptance.secrets`; this is what a fault in our own code shows in.
"""

import io
import logging
import secrets

import pytest
from django.apps import apps
from django.core import serializers

from mirroring import catalog
from mirroring.logs import FieldFormatter
from mirroring.models import CredentialKind
from mirroring.models.api_token import ApiToken, Scope
from mirroring.rules.outcomes import Outcome
from mirroring.upstream.policy import urls
from tests.catalog.test_credentials import keys_file  # noqa: F401
from tests.lab.github_api import GitHubAPI, new_key
from tests.making import state_of
from tests.verify.canaries import Canaries, ProcWatch

pytestmark = pytest.mark.one_database

PASSWORD = "Cn" + secrets.token_urlsafe(20)
TOKEN = "ghs_" + secrets.token_hex(18)
KEY = new_key()


@pytest.fixture
def canaries(works):
    found = Canaries(control=works.upstream.name)
    for name, secret in (("password", PASSWORD), ("token", TOKEN), ("key", KEY)):
        found.add(name, secret)
    return found


@pytest.fixture
def log():
    """Everything that any logger says, in the form in which it is written."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(FieldFormatter())
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield written
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def github():
    with GitHubAPI(private_key=KEY) as api:
        api.names = lambda number: TOKEN
        yield api


def keep(works, name, *, kind, **given):
    host = urls.parse(works.url).host
    made_of = catalog.Given(hosts=(host,), allow_http=True, **given)
    now = works.tracker.now()
    return catalog.add_credential(name, kind=kind, given=made_of, group=None, by="test", now=now)


def imported(works, row, *, behaviour):
    mirror = works.mirror(mirror={"credential": row})
    works.server.behave(works.upstream.name, f"slow:0.2+{behaviour}")
    return works.run(works.scheduled(mirror)), state_of(mirror).last_error


def rows():
    """Return every row of every table, as text."""
    return "\n".join(
        serializers.serialize("json", model.objects.all())
        for model in apps.get_app_config("mirroring").get_models()
    )


def pages(client, operator, row):
    client.force_login(operator)
    admin = f"/admin/mirroring/credential/{row.pk}"
    _, token = ApiToken.issue(
        "t", scopes=[Scope.READ_CREDENTIALS], by="test", now=row.created_at, expires_at=None
    )
    header = {"PRIVATE-TOKEN": token}
    yield from (
        client.get(path) for path in (f"{admin}/change/", f"{admin}/history/", "/metrics", "/-/readyz")
    )
    yield client.get("/admin/mirroring/credential/")
    yield client.get("/admin/mirroring/mirror/")
    yield client.get("/api/credentials", headers=header)


@pytest.mark.django_db(transaction=True)
def test_no_secret_leaves_its_way_to_git(
    works, canaries, log, github, client, admin_user, repositories_folder, redis_client, settings
):
    settings.STATIC_ROOT.mkdir(exist_ok=True)
    password = keep(works, "password", kind=CredentialKind.PASSWORD, secret=PASSWORD, username="robot")
    options = {"app_id": github.app_id, "installation_id": github.installation, "api_url": github.url}
    app = keep(works, "app", kind=CredentialKind.GITHUB_APP, secret=KEY, **options)
    watch = ProcWatch(canaries, pattern=works.upstream.name.encode())
    watch.start()

    ended = [
        imported(works, password, behaviour=f"auth:robot:{PASSWORD}"),
        imported(works, password, behaviour="auth:robot:another"),
        imported(works, app, behaviour=f"auth:x-access-token:{TOKEN}"),
        imported(works, app, behaviour="status:403"),
    ]
    watch.stop()

    assert [outcome for outcome, _ in ended] == [Outcome.CHANGED, Outcome.AUTH, Outcome.CHANGED, Outcome.AUTH]
    for sink, text in {
        "log": log.getvalue(),
        "database": rows(),
        "errors": repr(ended),
        "rows": repr(password),
    }.items():
        canaries.search(text.encode(), sink=sink)
    for page in pages(client, admin_user, app):
        canaries.search(page.content, sink="pages", where=page.request["PATH_INFO"])
    canaries.search_tree(repositories_folder, sink="repositories")
    for key in redis_client.keys("*"):
        canaries.search(key + (redis_client.dump(key) or b""), sink="redis")
    assert canaries.found == []
    assert not canaries.blind("argv", "environ", "database", "pages")


def test_a_line_of_the_log_holds_no_secret_whatever_it_was_given(log):
    from mirroring.logs import hide

    hide(PASSWORD, username="robot")
    token, header = "glpat-" + "aB3" * 8, "Authorization: Basic cm9ib3Q6aHVudGVyMg=="
    logger = logging.getLogger("mirroring.test")
    logger.warning("asked https://robot:%s@h.example/x", PASSWORD, extra={"token": token, "header": header})
    try:
        raise RuntimeError(f"it said {PASSWORD} and {KEY}")
    except RuntimeError:
        logger.exception("failed")

    text = log.getvalue()
    assert not [part for part in (PASSWORD, token, "cm9ib3Q6", KEY.splitlines()[3]) if part in text]
    assert "RuntimeError" in text
