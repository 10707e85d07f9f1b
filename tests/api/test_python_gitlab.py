"""GitLab's own client, python-gitlab, against a real server."""

import itertools

import gitlab
import pytest
import requests

from tests.trial import FIRST, SECOND

_numbers = itertools.count(1)


def client(deployment, *scopes: str) -> gitlab.Gitlab:
    token = deployment.token(f"t{next(_numbers)}", *scopes)
    return gitlab.Gitlab(deployment.web.url, private_token=token, retry_transient_errors=False)


@pytest.fixture(scope="module")
def writer(deployment) -> gitlab.Gitlab:
    return client(deployment, "write_flags")


def states(of: gitlab.Gitlab) -> dict[str, str]:
    return {feature.name: feature.state for feature in of.features.list(get_all=True)}


def test_a_flag_is_set_listed_and_deleted(writer, clean):
    assert states(writer) == {}

    made = writer.features.set(FIRST, True)

    assert made.state == "on"
    assert made.gates == [{"key": "boolean", "value": True}]
    assert made.definition["default_enabled"] is False
    assert states(writer) == {FIRST: "on"}
    assert clean.flag(FIRST)["value"] is True

    writer.features.delete(FIRST)
    assert states(writer) == {}
    assert clean.flag(FIRST)["set"] is False


def test_a_gate_refuses_and_can_be_overridden(writer, clean):
    with pytest.raises(gitlab.GitlabSetError, match=f"requires {FIRST}, which is off") as refused:
        writer.features.set(SECOND, True)
    assert refused.value.response_code == 400
    assert clean.flag(SECOND)["value"] is False

    # What GitLab calls force skips the definition. It opens no gate here, and what we have does.
    with pytest.raises(gitlab.GitlabHttpError, match="gate requires"):
        writer.http_post(f"/features/{SECOND}", post_data={"value": True, "force": True})
    writer.http_post(f"/features/{SECOND}", post_data={"value": True, "override": "requires,stable"})

    assert clean.flag(SECOND)["value"] is True


def test_turning_off_is_never_refused(writer, clean):
    writer.features.set(FIRST, True)
    clean.manage("feature", "freeze", "--why", "moving house")
    try:
        with pytest.raises(gitlab.GitlabSetError, match="moving house"):
            writer.features.set(SECOND, True)
        assert writer.features.set(FIRST, False).state == "off"
    finally:
        clean.manage("feature", "thaw")


def test_a_percentage_of_time_and_an_unknown_flag_are_refused(writer, clean):
    with pytest.raises(gitlab.GitlabSetError, match="key=percentage_of_actors"):
        writer.features.set(FIRST, 50)
    with pytest.raises(gitlab.GitlabSetError) as unknown:
        writer.features.set("update_al", True)
    assert unknown.value.response_code == 404
    with pytest.raises(gitlab.GitlabHttpError, match="actor: none"):
        writer.http_post(f"/features/{FIRST}", post_data={"value": 50, "key": "percentage_of_actors"})
    with pytest.raises(gitlab.GitlabSetError, match="not for a user"):
        writer.features.set(FIRST, True, user="ada")


def test_the_client_s_own_keyword_brings_the_reason_into_the_audit(writer, clean):
    writer.features.set(FIRST, True, why="QA was good")

    entry = clean.get(f"flags/{FIRST}/audit", writer.private_token)[0]
    assert entry["why"] == "QA was good"


def test_the_definitions_are_listed(writer):
    assert [made["name"] for made in writer.http_get("/features/definitions")][-2:] == [FIRST, SECOND]


def test_the_client_knows_the_version(writer, clean):
    assert writer.version() == ("0.1", "a" * 40)


@pytest.mark.parametrize("token", ["", "mrapi_wrong"])
def test_without_a_good_token_nothing_is_served(token, deployment):
    for path in ("/api/v4/features", "/api/flags", "/api/flags/audit", "/api/status"):
        answer = requests.get(deployment.web.url + path, headers={"PRIVATE-TOKEN": token}, timeout=5)
        assert answer.status_code == 401
    answer = requests.post(deployment.web.url + "/api/chatops/run", json={}, timeout=5)
    assert answer.status_code == 401


def test_a_token_that_reads_does_not_write_and_one_that_writes_runs_no_commands(deployment, clean):
    reader = client(deployment, "read_flags")
    with pytest.raises(gitlab.GitlabSetError, match="lacks the scope write_flags") as refused:
        reader.features.set(FIRST, True)
    assert refused.value.response_code == 403
    with pytest.raises(gitlab.GitlabDeleteError):
        reader.features.delete(FIRST)
    assert states(reader) == {}

    for scopes, missing in ((["write_flags"], "chatops"), (["chatops"], "write_flags")):
        token = deployment.token(f"t{next(_numbers)}", *scopes)
        headers = {"PRIVATE-TOKEN": token}
        path = "/api/chatops/run" if missing == "chatops" else f"/api/v4/features/{FIRST}"
        answer = requests.post(deployment.web.url + path, json={"value": True}, headers=headers, timeout=5)
        assert answer.status_code == 403
        assert missing in answer.text


def test_a_revoked_token_and_one_that_has_ended_open_nothing(deployment):
    name = f"t{next(_numbers)}"
    token = deployment.token(name, "read_flags")
    ended = deployment.manage(
        "token", "issue", f"t{next(_numbers)}", "--scope", "read_flags", "--expires-in", "0s"
    ).stdout.strip()
    url = deployment.web.url + "/api/flags"
    assert requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=5).ok

    deployment.manage("token", "revoke", name)

    for dead in (token, ended):
        assert requests.get(url, headers={"PRIVATE-TOKEN": dead}, timeout=5).status_code == 401


def test_the_clear_text_of_a_token_is_kept_nowhere(deployment):
    token = deployment.token(f"t{next(_numbers)}", "read_flags")

    assert token not in deployment.manage("token", "list", "--json").stdout
    for path in (deployment.web.log.parent / "state").rglob("*"):
        assert not path.is_file() or token.encode() not in path.read_bytes()


def test_status_audit_and_verdict_stand_beside_it(writer, deployment, clean):
    writer.http_post(f"/features/{FIRST}", post_data={"value": True, "why": "QA was good"})
    headers = {"PRIVATE-TOKEN": writer.private_token}

    def get(path):
        return requests.get(f"{deployment.web.url}/api/{path}", headers=headers, timeout=5)

    assert get("status").json() == {"environment": "lab", "milestone": "0.1", "revision": "a" * 40}
    assert get(f"flags/{FIRST}").json()["state"] == "on"
    newest = get(f"flags/{FIRST}/audit").json()[0]
    assert (newest["why"], newest["origin"], newest["before"]["on"]) == ("QA was good", "api", False)
    assert newest["by"].startswith("token:t")
    assert get("flags/audit/verdict").json()["faults"] == []
    assert len(get("flags/audit").text.splitlines()) == newest["sequence"]
    assert get("flags/nothing").status_code == 404
    assert get(f"flags/{FIRST}/rollout").json() is None
    assert get("nothing").json()["message"].startswith("404 Not Found")


def test_a_form_as_curl_sends_it_is_taken_too(deployment, writer, clean):
    headers = {"PRIVATE-TOKEN": writer.private_token}

    answer = requests.post(
        f"{deployment.web.url}/api/v4/features/{FIRST}", data={"value": "true"}, headers=headers, timeout=5
    )

    assert (answer.status_code, answer.json()["state"]) == (201, "on")
