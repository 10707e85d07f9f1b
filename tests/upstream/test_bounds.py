"""What an upstream can take of this machine: memory, disk, time. Each bound is met by a real server."""

import gzip
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from random import Random

import pytest

from mirroring.models import Host
from mirroring.rules.hosts import Signal
from mirroring.rules.outcomes import Outcome
from mirroring.upstream.access import reaching
from mirroring.upstream.access.contact import Contact, Route
from mirroring.upstream.client.probe import Way
from mirroring.upstream.errors import GitError
from mirroring.upstream.git import bounds, confinement
from mirroring.upstream.git.bounds import Bounds
from mirroring.upstream.git.confinement import Limits
from mirroring.upstream.git.process import StopHandle, Stopped, run, without_remote
from mirroring.upstream.policy import urls
from mirroring.upstream.transfer.listing import Known
from tests.lab import fast_import, hostile
from tests.lab.fast_import import Stream
from tests.making import refs_of

pytestmark = pytest.mark.one_database


def failure(bring, url, **options):
    with pytest.raises(GitError) as caught:
        bring(url, **options)
    return caught.value


def test_a_repository_over_the_limit_is_too_big_and_leaves_nothing(bring, heavy, git_server, repository):
    error = failure(bring, git_server.add("heavy", heavy), limits=Bounds(repository_mb=1))

    assert error.outcome is Outcome.TOO_BIG
    assert "repository_limit_mb" in error.detail
    assert bounds.size_of(repository.path) < 100_000
    assert not list((repository.path / "incoming").iterdir())


def test_what_grows_between_two_looks_is_stopped_by_the_kernel(bring, heavy, git_server, monkeypatch):
    monkeypatch.setattr(bounds, "size_of", lambda folder: 0)

    assert (
        failure(bring, git_server.add("heavy", heavy), limits=Bounds(repository_mb=1)).outcome
        is Outcome.TOO_BIG
    )


def test_what_the_mirror_holds_already_counts(bring, heavy, git_server, repository):
    url = git_server.add("heavy", heavy)
    bring(url)
    before = refs_of(repository.path)
    more = Stream(Random(2))
    more.commit("refs/heads/new", files={"small": "new\n"})
    fast_import.feed(heavy, more)

    assert failure(bring, url, limits=Bounds(repository_mb=1)).outcome is Outcome.TOO_BIG
    assert refs_of(repository.path) == before
    assert bring(url, limits=Bounds(repository_mb=10)).refs_changed == 1


def test_below_the_floor_nothing_is_started(bring, upstream, git_server, request_log, monkeypatch):
    usage = type("Usage", (), {"total": 100 << 30, "free": 900 << 20})
    monkeypatch.setattr(bounds.shutil, "disk_usage", lambda path: usage)

    error = failure(bring, git_server.add(upstream.name, upstream.path), limits=Bounds(disk_floor_mb=1024))

    assert (error.outcome, "900 MB" in error.detail) == (Outcome.RESOURCE, True)
    assert not request_log.exists() or request_log.read_text() == ""


def test_what_runs_may_use_the_upper_half_of_the_floor_and_is_stopped_below(monkeypatch, tmp_path):
    usage = type("Usage", (), {"total": 100 << 30, "free": 600 << 20})
    monkeypatch.setattr(bounds.shutil, "disk_usage", lambda path: usage)
    watch = bounds.Watch(tmp_path, bounds=Bounds(disk_floor_mb=1024), held=0)
    watch()
    usage.free = 500 << 20
    watch._next = 0

    with pytest.raises(GitError, match="500 MB of the disk") as caught:
        watch()
    assert caught.value.outcome is Outcome.RESOURCE


def test_on_a_small_disk_the_floor_is_a_twentieth_of_it(monkeypatch):
    usage = type("Usage", (), {"total": 100 << 20, "free": 6 << 20})
    monkeypatch.setattr(bounds.shutil, "disk_usage", lambda path: usage)

    assert bounds.shortage(1024) == ""
    usage.free = 4 << 20
    assert "less than the floor of 5 MB" in bounds.shortage(1024)


def test_a_command_and_its_children_are_held_to_their_memory(tmp_path):
    def attempt(memory):
        allocate = "import sys; block = bytearray(200 << 20); print(len(block))"
        command = ["sh", "-c", f"/usr/bin/env python3 -c '{allocate}'"]
        return run(
            command,
            environment={"PATH": os.environ["PATH"]},
            timeout=timedelta(seconds=20),
            stop=StopHandle(),
            limits=Limits(memory=memory),
        )

    assert attempt(2 << 30).strip() == str(200 << 20)
    with pytest.raises(GitError):
        attempt(128 << 20)
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def test_a_limit_of_our_own_that_is_lower_stays():
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, hard))
    try:
        held = [_largest_file(2 << 30), _largest_file(1 << 20)]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert held == [1 << 30, 1 << 20]


def _largest_file(limit):
    """Return how large a file the kernel lets a command write that is held to a limit."""
    tell = "import resource; print(resource.getrlimit(resource.RLIMIT_FSIZE)[0])"
    held = confinement.prefix(Limits(file_size=limit))
    return int(subprocess.run([*held, sys.executable, "-c", tell], capture_output=True, check=True).stdout)


@pytest.mark.parametrize("behaviour", ["hang", "drip"])
def test_a_server_that_sends_next_to_nothing_is_given_up_while_it_lists(
    behaviour, bring, upstream, git_server
):
    url = git_server.add(upstream.name, upstream.path, behaviour=behaviour)
    began = time.monotonic()

    error = failure(bring, url, seconds=60, limits=Bounds(idle=timedelta(seconds=2)))

    assert error.outcome is Outcome.HUNG
    assert time.monotonic() - began < 20


@contextmanager
def deaf(address, port=0):
    """Listen on an address, and answer nobody; yields the port."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind((address, port))
        listening.listen(0)
        for _ in range(3):  # They fill its queue.
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1" if address == "0.0.0.0" else address, listening.getsockname()[1]))
        time.sleep(0.1)
        yield listening.getsockname()[1]


@pytest.fixture
def dead(names):
    """The URL of a name with several addresses, none of which takes a connection."""
    names["git.test"] = [[f"127.0.0.{number}" for number in range(1, 7)]]
    with deaf("0.0.0.0") as port:
        yield f"http://git.test:{port}/x.git"


def test_a_server_that_takes_no_connection_is_given_up_before_git_is_started(bring, monkeypatch):
    monkeypatch.setattr(reaching, "CONNECT_SECONDS", 0.5)
    began = time.monotonic()
    with deaf("127.0.0.1") as port:
        error = failure(bring, f"http://127.0.0.1:{port}/x.git")

    assert "connection timed out" in error.detail
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("scheme", ["http://", "ssh://git@"])
def test_whoever_waits_for_a_connection_can_be_stopped(scheme, bring, dead, monkeypatch):
    monkeypatch.setattr(reaching, "CONNECT_SECONDS", 2.0)
    stop = StopHandle()
    threading.Timer(0.5, stop.stop, [Stopped(Outcome.CANCELED, "canceled")]).start()
    began = time.monotonic()

    url = dead.replace("http://", scheme)
    routes = {urls.parse(url).host: Route(known_hosts=("ssh-ed25519 AAAA",))}

    assert failure(bring, url, stop=stop, routes=routes).outcome is Outcome.CANCELED
    assert time.monotonic() - began < 5


def test_the_time_for_an_import_holds_while_no_address_answers(bring, dead, monkeypatch):
    monkeypatch.setattr(reaching, "CONNECT_SECONDS", 2.0)
    began = time.monotonic()

    assert failure(bring, dead, seconds=1).outcome is Outcome.HUNG
    assert time.monotonic() - began < 5


def test_dead_addresses_leave_time_for_a_living_one_and_are_unreachable_without(monkeypatch):
    monkeypatch.setattr(reaching, "TOTAL", timedelta(seconds=2), raising=False)
    addresses = tuple(f"127.0.0.{number}" for number in range(1, 6))
    with socket.create_server((addresses[-1], 0)) as alive, ExitStack() as stack:
        port = alive.getsockname()[1]
        for address in addresses[:-1]:
            stack.enter_context(deaf(address, port))
        url = urls.parse(f"http://git.test:{port}/x.git")
        way = {"left": timedelta(hours=1), "stop": StopHandle()}
        began = time.monotonic()

        assert reaching.reachable(Contact(url, addresses), **way) == addresses[-1]
        with pytest.raises(GitError, match="connection timed out") as caught:
            reaching.reachable(Contact(url, addresses[:-1]), **way)

    assert (caught.value.outcome, caught.value.signal) == (Outcome.TRANSIENT, Signal.UNREACHABLE)
    assert time.monotonic() - began < 15


def test_a_listing_without_end_is_too_big(bring, upstream, git_server, monkeypatch):
    from mirroring.upstream.transfer import asking

    monkeypatch.setattr(asking, "LISTING_LIMIT", 100)

    error = failure(bring, git_server.add(upstream.name, upstream.path))

    assert error.outcome is Outcome.TOO_BIG


@contextmanager
def without_refs(*, packets):
    """Serve an empty repository, with packets after what the server can do; yields its URL."""
    begin = hostile.packet(b"# service=git-upload-pack\n") + b"0000"
    able = hostile.packet(b"0" * 40 + b" capabilities^{}\0agent=x\n")
    body = gzip.compress(begin + able + packets * hostile.packet(b"shallow " + b"1" * 40 + b"\n") + b"0000")

    def deed(exchange):
        exchange.answer(200, hostile.ADVERTISED, ("Content-Encoding", "gzip"), body=body)

    server = hostile.HostileServer({"x": deed}, addresses=[("127.0.0.1", 0)], note=lambda *_, **__: None)
    with server:
        yield f"http://127.0.0.1:{server.port}/x/x.git"


def test_a_server_that_lists_no_ref_is_heard_and_one_that_goes_on_for_long_is_too_big(bring, repository):
    with without_refs(packets=3) as url:
        assert bring(url).outcome is Outcome.UNCHANGED
    with without_refs(packets=20_000) as url:
        assert failure(bring, url).outcome is Outcome.TOO_BIG
    assert refs_of(repository.path) == {}


def test_what_a_server_inside_says_is_not_kept(bring, upstream, git_server):
    # The lab's servers are not public, so not even the text of a refusal is told.
    url = git_server.add(upstream.name, upstream.path, behaviour="says:internal secret")

    error = failure(bring, url)

    assert "internal secret" not in error.detail
    assert "403" in error.detail


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (
            "remote: token=1\nfatal: unable to access 'u': error: 403",
            "fatal: unable to access 'u': error: 403",
        ),
        ("fatal: remote error: token=1", "fatal: remote error:"),
        ("fatal: protocol error: bad line length character: +PON", "fatal: protocol error:"),
    ],
)
def test_the_words_of_a_server_are_cut_out(said, kept):
    assert without_remote(said).strip() == kept


@pytest.fixture
def endless(settings):
    """The URL of a server that lists half a gigabyte: without the bound git would take it all, with it not."""
    settings.GIT_MEMORY_MB = 300
    begin = hostile.packet(b"# service=git-upload-pack\n") + b"0000"
    line = hostile.packet(b"1" * 40 + b" refs/heads/" + b"x" * 200 + b"\n")

    def deed(exchange):
        exchange.head(200, hostile.ADVERTISED)
        exchange.send(begin)
        for _ in range(500):
            exchange.send(line * 4_000)

    server = hostile.HostileServer({"x": deed}, addresses=[("127.0.0.1", 0)], note=lambda *_, **__: None)
    with server:
        yield f"http://127.0.0.1:{server.port}/x/x.git"


def test_a_server_that_lists_without_end_is_stopped_before_it_takes_the_memory(bring, endless):
    error = failure(bring, endless, seconds=100)

    assert error.outcome is Outcome.TOO_BIG
    assert "lists more than git can hold in memory" in error.detail


def test_a_check_by_git_is_stopped_before_it_takes_the_memory_too(endless):
    url = urls.parse(endless)
    known = Known(url, Host(name=url.host), ("+refs/*:refs/*",), Way.GIT)
    by_git = known.ask(for_whom=None).by_git
    assert by_git is not None

    with pytest.raises(GitError) as caught:
        by_git()

    assert caught.value.outcome is Outcome.TOO_BIG
