"""Servers that ask to be left alone for a while: how long is read by us, for git does not say it."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from mirroring.rules.hosts import RETRY_AFTER_LONGEST, Signal
from mirroring.rules.outcomes import Outcome
from mirroring.upstream.client.http1 import Head
from mirroring.upstream.errors import GitError
from mirroring.upstream.transfer import pauses

pytestmark = pytest.mark.one_database

NOW = datetime(2026, 11, 23, 4, 30, tzinfo=UTC)


def in_http(moment):
    return format_datetime(moment, usegmt=True)


@pytest.fixture
def refused(make_upstream, git_server, bring, tmp_path):
    """Import from a server that refuses in this way, and return the failure."""
    upstream = make_upstream("plain")

    def ask(behaviour, **order):
        url = git_server.add(upstream.name, upstream.path, behaviour=behaviour)
        with pytest.raises(GitError) as caught:
            bring(url, **order)
        return caught.value

    return ask


@pytest.mark.parametrize("code", [429, 503])
def test_the_pause_that_a_server_asks_for_is_known(code, refused):
    error = refused(f"status:{code}:90")

    assert error.outcome is Outcome.TRANSIENT
    assert error.signal is Signal.OVERLOADED
    assert error.retry_after == timedelta(seconds=90)
    assert str(code) in error.detail


def test_a_pause_until_a_moment_is_one_as_well(refused):
    error = refused(f"status:503:{in_http(datetime.now(tz=UTC) + timedelta(minutes=10))}")

    assert timedelta(minutes=9) < error.retry_after <= timedelta(minutes=10)


@pytest.mark.parametrize("behaviour", ["status:429", "status:503:soon", "status:500:90", "status:404:90"])
def test_without_such_a_request_there_is_no_pause(behaviour, refused):
    assert refused(behaviour).retry_after is None


@pytest.mark.parametrize(
    ("fields", "pause"),
    [
        ({b"retry-after": b"0"}, timedelta(0)),
        ({b"retry-after": b" 120 "}, timedelta(seconds=120)),
        ({b"retry-after": b"999999999"}, RETRY_AFTER_LONGEST),
        ({b"retry-after": b"9999999999999999999"}, None),
        ({b"retry-after": b"-5"}, None),
        ({b"retry-after": b"1.5"}, None),
        ({b"retry-after": b""}, None),
        ({}, None),
        ({b"retry-after": in_http(NOW + timedelta(seconds=30)).encode()}, timedelta(seconds=30)),
        ({b"retry-after": in_http(NOW - timedelta(days=1)).encode()}, timedelta(0)),
        ({b"retry-after": in_http(NOW + timedelta(days=9)).encode()}, RETRY_AFTER_LONGEST),
        ({b"retry-after": b"Mon, 99 Nov 2026 04:30:00 GMT"}, None),
        ({b"retry-after": "\u00b2".encode("latin-1")}, None),
    ],
)
def test_what_a_server_writes_is_read_within_bounds(fields, pause):
    assert pauses.retry_after(Head(503, fields), now=NOW) == pause


def test_a_moment_counts_from_the_clock_of_the_server():
    theirs = NOW - timedelta(hours=3)
    fields = {
        b"date": in_http(theirs).encode(),
        b"retry-after": in_http(theirs + timedelta(seconds=40)).encode(),
    }

    assert pauses.retry_after(Head(429, fields), now=NOW) == timedelta(seconds=40)
