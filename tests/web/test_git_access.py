"""Who may clone: public groups are open to all, private ones to the holders of a token of the group."""

from base64 import b64encode
from datetime import timedelta

import pytest

from mirroring.catalog import groups

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database]

REFS = "/info/refs?service=git-upload-pack"


@pytest.fixture
def token(mirrored, make_upstream) -> str:
    """A token of the private group `vault`, which has the mirror `vault/secret`."""
    from mirroring.models import Group

    groups.add_group("vault", public=False)
    mirrored(make_upstream("plain"), "vault/secret")
    return groups.add_token(Group.objects.get(name="vault"), name="ci")[1]


def basic(password: str, user: str = "anybody") -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


def handshake(client, path: str, **headers: str):
    response = client.get(f"/git/{path}.git{REFS}", **headers)
    body = b"".join(response.streaming_content) if response.streaming else response.content
    return response.status_code, body


def test_a_private_mirror_is_cloned_with_a_token_as_the_password(web, token, git, tmp_path):
    url = web.git("vault/secret").replace("http://", f"http://ci:{token}@")

    git("clone", "-q", url, tmp_path / "copy")

    assert (tmp_path / "copy" / ".git").is_dir()


def test_a_private_mirror_is_cloned_with_a_bearer_token(web, token, git, tmp_path):
    header = f"http.extraHeader=Authorization: Bearer {token}"

    git("-c", header, "clone", "-q", web.git("vault/secret"), tmp_path / "copy")

    assert (tmp_path / "copy" / ".git").is_dir()


@pytest.mark.parametrize("password", ["", "mrt_wrong", "x" * 5000])
def test_a_private_mirror_is_refused_to_whoever_has_no_token(password, web, token, git, tmp_path):
    url = web.git("vault/secret").replace("http://", f"http://ci:{password}@" if password else "http://")

    done = git("clone", url, tmp_path / "copy", check=False)

    assert done.returncode == 128
    assert not (tmp_path / "copy").exists()


def test_the_token_of_one_group_does_not_open_another(client, token):
    from mirroring.models import Group

    groups.add_group("other", public=False)
    foreign = groups.add_token(Group.objects.get(name="other"), name="ci")[1]

    assert handshake(client, "vault/secret", **basic(foreign))[0] == 401
    assert handshake(client, "vault/secret", **basic(token))[0] == 200


def test_a_revoked_token_opens_nothing(client, token):
    from mirroring.models import Group
    from mirroring.tracker.connection import present

    groups.revoke_token(Group.objects.get(name="vault"), name="ci", now=present() - timedelta(seconds=1))

    assert handshake(client, "vault/secret", **basic(token))[0] == 401


def test_the_second_request_of_a_clone_needs_the_token_too(client, token):
    kind = "application/x-git-upload-pack-request"

    refused = client.post("/git/vault/secret.git/git-upload-pack", b"0000", content_type=kind)

    assert refused.status_code == 401


def test_private_and_unknown_look_alike_without_a_token(client, token):
    answers = [
        client.get(f"/git/{path}.git{REFS}")
        for path in ("vault/secret", "vault/unknown", "nowhere/secret", "nowhere/unknown")
    ]

    assert {(answer.status_code, answer.content) for answer in answers} == {(401, answers[0].content)}
    assert {answer["WWW-Authenticate"] for answer in answers} == {'Basic realm="mirroring", charset="UTF-8"'}
    assert "secret" not in answers[0].content.decode()


def test_whoever_has_the_token_is_told_that_a_mirror_does_not_exist(client, token):
    assert handshake(client, "vault/unknown", **basic(token))[0] == 404


@pytest.mark.parametrize(
    "header", ["Basic", "Basic !!!", "Basic /w==", "Basic bm9jb2xvbg==", "Bearer", "Digest x", "\u00ff"]
)
def test_a_header_that_makes_no_sense_is_no_token(client, token, header):
    assert client.get(f"/git/vault/secret.git{REFS}", HTTP_AUTHORIZATION=header).status_code == 401


def test_a_public_mirror_asks_for_nothing(client, mirrored, make_upstream):
    mirrored(make_upstream("plain"))

    assert handshake(client, "default/project")[0] == 200
    assert handshake(client, "default/project", **basic("whatever"))[0] == 200
