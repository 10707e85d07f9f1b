"""What real failures are called: each is brought about, none is made up."""

import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mirroring.rules.outcomes import Outcome
from mirroring.upstream.disk import refs
from mirroring.upstream.errors import GitError
from tests.lab import hostile, repositories
from tests.making import refs_of


def failure(bring, url, **options):
    with pytest.raises(GitError) as caught:
        bring(url, **options)
    return caught.value


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        ("auth", Outcome.AUTH),
        ("status:401", Outcome.AUTH),
        ("status:403", Outcome.AUTH),
        ("gone", Outcome.GONE),
        ("status:410", Outcome.GONE),
        ("status:301", Outcome.GONE),
        ("status:429", Outcome.TRANSIENT),
        ("status:500", Outcome.TRANSIENT),
        ("status:503", Outcome.TRANSIENT),
    ],
)
def test_what_the_upstream_answers_has_its_class(behaviour, outcome, upstream, url, git_server, bring):
    git_server.behave(upstream.name, behaviour)

    error = failure(bring, url)

    assert error.outcome is outcome
    assert error.detail


@pytest.mark.parametrize("behaviour", ["hang", "drip"])
def test_an_upstream_that_takes_too_long_is_hung_and_given_up_in_time(
    behaviour, upstream, url, git_server, bring
):
    git_server.behave(upstream.name, behaviour)
    began = time.monotonic()

    error = failure(bring, url, seconds=1)

    assert error.outcome is Outcome.HUNG
    assert "fetch timeout" in error.detail
    assert time.monotonic() - began < 15


def test_the_time_is_for_the_whole_import_and_not_for_each_of_its_commands(upstream, url, git_server, bring):
    # Listing takes two requests of 0.8 s each, fetching three: no command exceeds the time, both together do.
    git_server.behave(upstream.name, "slow:0.8")
    began = time.monotonic()

    assert failure(bring, url, seconds=3).outcome is Outcome.HUNG
    assert time.monotonic() - began < 15


def test_our_own_work_on_what_was_fetched_is_bound_by_the_time_too(url, bring, repository, monkeypatch):
    real = refs.follow_head

    def slow(*arguments):
        time.sleep(3)
        return real(*arguments)

    monkeypatch.setattr(refs, "follow_head", slow)

    assert failure(bring, url, seconds=3).outcome is Outcome.HUNG
    assert refs_of(repository.path) == {}


def test_nobody_there_is_a_passing_trouble(bring):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    error = failure(bring, f"http://127.0.0.1:{port}/x.git")

    assert error.outcome is Outcome.TRANSIENT
    assert "127.0.0.1" in error.detail


def cut(path):
    """Return the deed of a server that dies while it sends a pack: half of the answer, and the end."""
    honest = hostile.serve(path)

    def deed(exchange):
        if b"command=fetch" not in exchange.body:
            honest(exchange)
            return
        exchange.head(200, ("Content-Type", "application/x-git-upload-pack-result"))
        exchange.send(
            hostile.packet(b"packfile\n") + hostile.packet(b"\x01PACK\x00\x00\x00\x02\x00\x00\x00\x09")
        )
        exchange.close_connection = True

    return deed


@pytest.mark.parametrize("moment", ["before the refs", "within the pack"])
def test_a_connection_that_ends_early_is_a_passing_trouble_and_costs_no_ref(
    moment, upstream, url, bring, repository
):
    bring(url)
    before = refs_of(repository.path)
    repositories.push_commits(upstream, seed=1)
    deed = hostile.hang_up if moment == "before the refs" else cut(upstream.path)

    with hostile.HostileServer(
        {"x": deed}, addresses=[("127.0.0.1", 0)], note=lambda *_, **__: None
    ) as server:
        error = failure(bring, f"http://127.0.0.1:{server.port}/x/y.git")

    assert error.outcome is Outcome.TRANSIENT
    assert refs_of(repository.path) == before


@pytest.mark.parametrize("scheme", ["git://127.0.0.1:1", "ssh://127.0.0.1:1", "ftp://127.0.0.1:1", "file://"])
def test_a_protocol_that_we_do_not_speak_is_blocked(scheme, bring, upstream):
    error = failure(bring, f"{scheme}{upstream.path}")

    assert error.outcome is Outcome.BLOCKED


def test_a_remote_helper_is_never_run(bring, tmp_path):
    assert failure(bring, f"ext::sh -c touch% {tmp_path}/ran").outcome is Outcome.BLOCKED
    assert not (tmp_path / "ran").exists()


def test_a_password_in_a_url_is_refused_and_not_repeated(url, bring):
    error = failure(bring, url.replace("//", "//lab:secret@"))

    assert "secret" not in error.detail


def test_a_web_page_in_the_place_of_a_repository_is_gone(bring):
    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>Domain for sale</html>")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        error = failure(bring, f"http://127.0.0.1:{server.server_address[1]}/x.git")
        server.shutdown()

    assert error.outcome is Outcome.GONE


def test_a_file_that_may_not_grow_is_our_own_trouble(bring, settings, tmp_path, heavy, git_server):
    limited = tmp_path / "limited-git"
    limited.write_text('#!/bin/sh\ntrap "" XFSZ\nulimit -f 64\nexec git "$@"\n')
    limited.chmod(0o755)
    settings.GIT = str(limited)

    assert failure(bring, git_server.add("heavy", heavy)).outcome is Outcome.RESOURCE


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of half a megabyte."""
    folder = tmp_path / "ab"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root can mount a small disk")
def test_a_full_disk_is_our_own_trouble_and_costs_no_ref(
    small_disk: Path, bring, repository, upstream, url, heavy, git_server
):
    bring(url)
    before = refs_of(repository.path)
    git_server.add(upstream.name, heavy)

    error = failure(bring, url)

    assert error.outcome is Outcome.RESOURCE
    assert refs_of(repository.path) == before
    git_server.add(upstream.name, upstream.path)
    bring(url)
