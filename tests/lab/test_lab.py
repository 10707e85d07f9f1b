"""The lab is an instrument: these tests say that it can be trusted."""

import contextlib
import gzip
import http.client
import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab import fast_import, repositories
from tests.lab.http_server import GitServer
from tests.lab.repositories import PUSH_KINDS, Upstream

ENVIRONMENT = {**fast_import.ENVIRONMENT, "GIT_ASKPASS": "true"}


def git(*arguments: str | Path, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", *map(str, arguments)],
        check=False,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def refs(path: Path) -> str:
    return fast_import.run(path, "for-each-ref", "--format=%(refname) %(objectname)")


def events(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_the_same_seed_makes_the_same_repositories_and_another_seed_others(tmp_path: Path) -> None:
    made = [repositories.make_upstreams(tmp_path / str(n), seed=n // 2, count=4) for n in range(3)]

    first, again, other = ([refs(upstream.path) for upstream in upstreams] for upstreams in made)

    assert first == again
    assert all(mine != theirs for mine, theirs in zip(first, other, strict=True))


def test_twelve_repositories_show_every_shape(tmp_path: Path) -> None:
    made = {upstream.shape: upstream for upstream in repositories.make_upstreams(tmp_path, seed=1, count=12)}

    assert made["empty"].heads == made["empty"].tags == 0
    assert made["big"].heads + made["big"].tags + made["big"].pulls > 900
    assert int(fast_import.run(made["big"].path, "rev-list", "--count", "main")) == 3000
    assert made["trunk"].default_branch != "main"
    assert (made["tag-only"].heads, made["tag-only"].tags) == (0, 3)
    assert made["pulls"].pulls > 0
    assert "refs/heads/größe" in refs(made["unicode"].path)
    assert "refs/heads/feature/a/b" in refs(made["deep"].path)
    assert fast_import.run(made["merges"].path, "rev-list", "--min-parents=3", "--all")
    types = fast_import.run(made["tags"].path, "for-each-ref", "--format=%(objecttype)", "refs/tags").split()
    assert set(types) == {"commit", "tag"}


@pytest.mark.parametrize("kind", PUSH_KINDS)
def test_a_push_changes_the_upstream_as_its_kind_says(
    kind: str, make_upstream: Callable[..., Upstream]
) -> None:
    upstream = make_upstream("branches")
    before, head = refs(upstream.path), fast_import.run(upstream.path, "symbolic-ref", "HEAD").strip()
    old_main = fast_import.run(upstream.path, "rev-parse", "main").strip()

    push = repositories.push_commits(upstream, seed=7, kind=kind)

    after, new_head = refs(upstream.path), fast_import.run(upstream.path, "symbolic-ref", "HEAD").strip()
    assert (f"{push.ref} {push.target}\n" in after) == (kind != "delete")
    assert (push.ref in before) == (kind in ("commit", "delete", "force"))
    assert (push.ref in after) == (kind != "delete")
    assert (new_head != head) == (kind == "head")
    new_main = fast_import.run(upstream.path, "rev-list", "main").split()
    assert (old_main in new_main) == (kind != "force")
    fast_import.run(upstream.path, "fsck", "--connectivity-only")


@pytest.mark.parametrize("shape", ["empty", "tag-only"])
def test_a_push_to_a_repository_without_branches_makes_its_first(
    shape: str, make_upstream: Callable[..., Upstream]
) -> None:
    upstream = make_upstream(shape)

    push = repositories.push_commits(upstream, seed=1, kind="force")

    assert fast_import.run(upstream.path, "rev-parse", "HEAD").strip() == push.target


@pytest.mark.parametrize("protocol", [0, 2])
@pytest.mark.parametrize("shape", ["unicode", "big", "empty"])
def test_a_clone_over_http_equals_its_upstream(
    shape: str, protocol: int, make_upstream: Callable[..., Upstream], git_server: GitServer, tmp_path: Path
) -> None:
    upstream = make_upstream(shape)
    url = git_server.add(upstream.name, upstream.path)

    done = git("-c", f"protocol.version={protocol}", "clone", "--mirror", "--quiet", url, tmp_path / "clone")

    assert done.returncode == 0, done.stderr
    assert refs(tmp_path / "clone") == refs(upstream.path)


def test_request_bodies_may_be_gzipped_and_chunked(
    make_upstream: Callable[..., Upstream], git_server: GitServer
) -> None:
    upstream = make_upstream("branches")
    git_server.add(upstream.name, upstream.path)
    question = b"0014command=ls-refs\n0001" + b"001bref-prefix refs/heads/\n" + b"0000"
    headers = {"Content-Type": "application/x-git-upload-pack-request", "Git-Protocol": "version=2"}
    packed = gzip.compress(question)

    plain = post(git_server, upstream, question, headers)
    gzipped = post(git_server, upstream, packed, headers | {"Content-Encoding": "gzip"})
    chunked = post(
        git_server, upstream, iter([packed[:9], packed[9:]]), headers | {"Content-Encoding": "gzip"}
    )

    assert plain == gzipped == chunked
    assert b"refs/heads/topic-001" in plain


def post(server: GitServer, upstream: Upstream, body: object, headers: dict[str, str]) -> bytes:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    with contextlib.closing(connection):
        connection.request("POST", f"/{upstream.name}.git/git-upload-pack", body, headers)  # type: ignore[arg-type]
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read()


def test_an_answer_is_whole_however_its_bytes_come(
    git_server: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend that writes head and body at once; the real one writes them apart, most of the time."""
    backend = tmp_path / "bin/git-http-backend"
    backend.parent.mkdir()
    backend.write_text("#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\nthe whole body'\n")
    backend.chmod(0o755)
    monkeypatch.setenv("GIT_EXEC_PATH", str(backend.parent))

    url = git_server.add("any", tmp_path)

    with urllib.request.urlopen(f"{url}/info/refs?service=git-upload-pack", timeout=10) as answer:
        assert answer.read() == b"the whole body"


@pytest.mark.parametrize(
    ("behaviour", "complaint"), [("auth", "Authentication"), ("gone", "not found"), ("status:503", "503")]
)
def test_a_misbehaving_repository_answers_as_told(
    behaviour: str, complaint: str, make_upstream: Callable[..., Upstream], git_server: GitServer
) -> None:
    upstream = make_upstream()
    url = git_server.add(upstream.name, upstream.path, behaviour=behaviour)

    done = git("ls-remote", url)

    assert done.returncode != 0
    assert complaint in done.stderr
    git_server.behave(upstream.name, "")
    assert git("ls-remote", url).returncode == 0


def test_the_password_opens_what_asks_for_one(
    make_upstream: Callable[..., Upstream], git_server: GitServer
) -> None:
    upstream = make_upstream()
    url = git_server.add(upstream.name, upstream.path, behaviour="auth")

    assert git("ls-remote", url.replace("//", "//lab:lab@")).returncode == 0


@pytest.mark.parametrize("behaviour", ["hang", "drip"])
def test_a_client_that_gives_up_ends_its_request_in_the_log(
    behaviour: str, make_upstream: Callable[..., Upstream], git_server: GitServer, request_log: Path
) -> None:
    upstream = make_upstream()
    url = git_server.add(upstream.name, upstream.path, behaviour=behaviour)

    client = subprocess.Popen(["git", "ls-remote", url], env=ENVIRONMENT, start_new_session=True)
    with pytest.raises(subprocess.TimeoutExpired):
        client.wait(0.7)
    os.killpg(client.pid, signal.SIGKILL)
    client.wait()

    deadline = time.monotonic() + 5
    while not any(event["event"] == "end" for event in events(request_log)):
        assert time.monotonic() < deadline, "the request of a client that left is still open in the log"
        time.sleep(0.05)


def test_slow_repositories_overlap_and_the_log_shows_it(
    make_upstream: Callable[..., Upstream], git_server: GitServer, request_log: Path
) -> None:
    made = [make_upstream() for _ in range(3)]
    urls = [git_server.add(upstream.name, upstream.path, behaviour="slow:0.5") for upstream in made]

    clients = [
        subprocess.Popen(["git", "ls-remote", "--quiet", url], env=ENVIRONMENT, stdout=subprocess.DEVNULL)
        for url in urls
    ]
    assert [client.wait(20) for client in clients] == [0, 0, 0]

    starts = [event for event in events(request_log)[:3] if event["event"] == "start"]
    assert {event["repository"] for event in starts} == {upstream.name for upstream in made}
    assert {event["kind"] for event in events(request_log) if event["event"] == "start"} == {
        "refs",
        "ls-refs",
    }
