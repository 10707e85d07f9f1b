"""What else clients send, and what they are told: every refusal is a text that git shows."""

import gzip
import http.client
import shutil
import zlib
from urllib.parse import urlsplit

import pytest

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database]

PATH = "/git/default/project.git"
REFS = f"{PATH}/info/refs?service=git-upload-pack"
KIND = {"Content-Type": "application/x-git-upload-pack-request", "Git-Protocol": "version=2"}
LS_REFS = b"0014command=ls-refs\n00010009peel\n0000"


def ask(web, method: str, path: str, *, headers=None, body=None, chunked: bool = False):
    """Send one request, and return status, headers and body."""
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(web.url).port, timeout=30)
    try:
        connection.request(method, path, body=body, headers=headers or {}, encode_chunked=chunked)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


@pytest.fixture
def project(mirrored, make_upstream):
    return mirrored(make_upstream("plain"))


def test_a_push_is_refused_with_a_text(web, project, git, tmp_path):
    git("clone", "-q", web.git("default/project"), tmp_path / "copy")

    done = git("-C", tmp_path / "copy", "push", "origin", "HEAD:refs/heads/new", check=False)

    assert done.returncode != 0
    assert "This is a read-only mirror: push to its upstream" in done.stderr


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (f"{PATH}/info/refs", "smart HTTP protocol"),
        (f"{PATH}/info/refs?service=git-upload-archive", "clone and fetch"),
        (f"{PATH}/info/refs?service=git-receive-pack", "read-only mirror"),
        (f"{PATH}/git-receive-pack", "read-only mirror"),
        (f"{PATH}/HEAD", "smart HTTP protocol"),
        (f"{PATH}/objects/info/packs", "smart HTTP protocol"),
        (f"{PATH}/config", "smart HTTP protocol"),
    ],
)
def test_nothing_but_a_smart_fetch_is_served(path, text, client, project):
    answer = client.get(path)

    assert answer.status_code == 403
    assert text in answer.content.decode()
    assert answer["Content-Type"].startswith("text/plain")


def test_another_address_below_git_says_where_mirrors_are(client):
    answer = client.get("/git/default/project/info/refs?service=git-upload-pack")

    assert answer.status_code == 404
    assert "/git/GROUP/NAME.git" in answer.content.decode()


def test_a_mirror_that_was_never_imported_says_so_to_git(web, make_mirror, git):
    make_mirror()

    done = git("ls-remote", web.git("default/project"), check=False)

    assert done.returncode == 128
    assert "default/project has not been mirrored yet. Next attempt: waits for a slot" in done.stderr


def test_the_class_of_a_failure_is_told_and_what_the_upstream_said_is_not(client, make_mirror):
    from mirroring.models import ImportState
    from mirroring.rules.outcomes import Outcome

    mirror = make_mirror()
    ImportState.objects.filter(pk=mirror.pk).update(last_outcome=Outcome.AUTH, last_error="password: hunter2")

    answer = client.get(REFS)

    assert (answer.status_code, answer["Retry-After"]) == (503, "30")
    assert "its last attempt ended as: auth" in answer.content.decode()
    assert "hunter2" not in answer.content.decode()


def test_a_mirror_whose_repository_is_gone_from_the_disk_says_so(client, project):
    shutil.rmtree(project.repository)

    answer = client.get(REFS)

    assert answer.status_code == 503
    assert "is missing on this server's disk" in answer.content.decode()


def test_a_repository_that_git_cannot_read_is_an_error_and_not_an_empty_answer(client, project):
    shutil.rmtree(project.repository / "objects")

    answer = client.get(REFS)

    assert answer.status_code == 500
    assert "cannot be read on this server" in answer.content.decode()


def test_the_age_of_the_copy_is_in_the_answer(client, project):
    from email.utils import parsedate_to_datetime

    project.state.refresh_from_db()
    answer = client.get(REFS)
    list(answer.streaming_content)

    told = parsedate_to_datetime(answer["Mirror-Last-Successful-Update"])
    assert told == project.state.last_successful_update_at.replace(microsecond=0)


@pytest.mark.parametrize(
    ("header", "second_version"),
    [
        ("version=2", True),
        ("version=1:version=2", True),
        ("x:version=2", True),
        ("version=2;id", False),
        ("", False),
    ],
)
def test_only_a_plain_protocol_version_reaches_git(header, second_version, client, project):
    answer = client.get(REFS, HTTP_GIT_PROTOCOL=header)

    body = b"".join(answer.streaming_content)
    assert body.startswith(b"000eversion 2\n" if second_version else b"001e# service=git-upload-pack\n0000")


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_a_body_is_understood_however_it_is_sent(chunked, encoding, web, project):
    body = gzip.compress(LS_REFS, mtime=0) if encoding == "gzip" else LS_REFS
    headers = {**KIND, "Content-Encoding": encoding}
    if chunked:
        headers["Transfer-Encoding"] = "chunked"
    sent = iter([body[:7], body[7:]]) if chunked else body

    status, _, answer = ask(
        web, "POST", f"{PATH}/git-upload-pack", headers=headers, body=sent, chunked=chunked
    )

    assert status == 200
    assert b"refs/heads/main" in answer


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (gzip.compress(LS_REFS, mtime=0)[:-9], "gzip", 400),
        (b"no gzip at all", "gzip", 400),
        (zlib.compress(LS_REFS), "deflate", 415),
    ],
)
def test_a_body_that_cannot_be_unpacked_is_refused(body, encoding, status, web, project):
    headers = {**KIND, "Content-Encoding": encoding}

    assert ask(web, "POST", f"{PATH}/git-upload-pack", headers=headers, body=body)[0] == status


def test_a_small_body_that_unpacks_to_a_large_one_is_refused(web, project):
    from mirroring.web import git_body

    bomb = gzip.compress(bytes(git_body.LIMIT + 1), compresslevel=1)
    headers = {**KIND, "Content-Encoding": "gzip"}

    status, _, text = ask(web, "POST", f"{PATH}/git-upload-pack", headers=headers, body=bomb)

    assert status == 413
    assert b"larger than" in text


def test_a_body_of_another_kind_is_refused(client, project):
    assert client.post(f"{PATH}/git-upload-pack", b"0000", content_type="text/plain").status_code == 415


def test_other_methods_are_not_allowed(client, project):
    assert client.post(REFS).status_code == 405
    assert client.get(f"{PATH}/git-upload-pack").status_code == 405


def test_some_threads_are_left_for_people_however_many_clones_run(client, project):
    from mirroring.web.git_http import _PLACES

    taken = 0
    while _PLACES.acquire(blocking=False):
        taken += 1
    try:
        answer = client.get(REFS)
    finally:
        for _ in range(taken):
            _PLACES.release()

    assert taken == 12
    assert answer.status_code == 503
    assert "Too many clones at once" in answer.content.decode()


def test_a_place_is_given_back_at_the_end_of_a_clone(client, project):
    from mirroring.web.git_http import _PLACES

    for _ in range(_PLACES._initial_value + 1):
        answer = client.get(REFS)
        b"".join(answer.streaming_content)

    assert answer.status_code == 200
