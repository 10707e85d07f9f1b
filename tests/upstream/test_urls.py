import contextlib
from urllib.parse import urlsplit

import pytest
from django.core.exceptions import ValidationError
from hypothesis import example, given
from hypothesis import strategies as st

from mirroring.models.group import PATH_SEGMENT
from mirroring.upstream.policy.urls import BadURL, parse


@pytest.mark.parametrize(
    ("url", "normal", "host", "group", "name"),
    [
        ("https://h.example/team/x.git", "https://h.example/team/x.git", "h.example", "team", "x"),
        ("  https://h.example/x  ", "https://h.example/x", "h.example", "default", "x"),
        ("HTTPS://H.Example/Team/X.git/", "https://h.example/Team/X.git", "h.example", "Team", "X"),
        ("https://h:443/a/b", "https://h/a/b", "h", "a", "b"),
        ("http://h:80/a/b", "http://h/a/b", "h", "a", "b"),
        ("https://h:80/a/b", "https://h:80/a/b", "h:80", "a", "b"),
        ("http://127.0.0.1:8080/a/b.git", "http://127.0.0.1:8080/a/b.git", "127.0.0.1:8080", "a", "b"),
        ("http://[::1]:8080/a/b", "http://[::1]:8080/a/b", "[::1]:8080", "a", "b"),
        ("https://h/a/b/c/d.git", "https://h/a/b/c/d.git", "h", "c", "d"),
        ("https://h/t/gr%C3%B6%C3%9Fe", "https://h/t/gr%C3%B6%C3%9Fe", "h", "t", "gr-e"),
        ("https://h/~ada/x", "https://h/~ada/x", "h", "ada", "x"),
        ("https://h/t/x.git.git", "https://h/t/x.git.git", "h", "t", "x"),
        ("https://h/größe", "https://h/gr%C3%B6%C3%9Fe", "h", "default", "gr-e"),
        ("https://h:0443/x?", "https://h/x", "h", "default", "x"),
        ("https://[2001:0DB8::0:1]/x", "https://[2001:db8::1]/x", "[2001:db8::1]", "default", "x"),
        ("ssh://git@H.example/team/x.git", "ssh://git@h.example/team/x.git", "h.example", "team", "x"),
        ("ssh://git@h:22/x", "ssh://git@h/x", "h", "default", "x"),
        ("ssh://git@h:2222/x", "ssh://git@h:2222/x", "h:2222", "default", "x"),
        ("ssh://git@[::1]:2222/~ada/x", "ssh://git@[::1]:2222/~ada/x", "[::1]:2222", "ada", "x"),
        ("git@H.example:team/x.git", "git@h.example:team/x.git", "h.example", "team", "x"),
        ("git@h:/srv/git/x.git/", "git@h:/srv/git/x.git", "h", "git", "x"),
    ],
)
def test_a_url_has_a_normal_form_a_host_and_a_suggested_name(url, normal, host, group, name):
    parsed = parse(url)

    assert (parsed.url, parsed.host) == (normal, host)
    assert (parsed.suggested_group, parsed.suggested_name) == (group, name)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "Give the URL"),
        ("   ", "Give the URL"),
        ("--upload-pack=touch /tmp/x", "Give the URL"),
        ("h.example/x", "no scheme"),
        ("h.example:team/x.git", "or git@HOST:PATH"),
        ("/srv/git/x.git", "no scheme"),
        ("file:///srv/git/x.git", "file:// is not accepted"),
        ("ssh://h/x.git", "names no account"),
        ("@h:x.git", "names no account"),
        ("ssh://git:word@h/x.git", "only the account"),
        ("ssh://-lroot@h/x.git", "account before the .@."),
        ("ssh://-oProxyCommand=x@h/x.git", "account before the '@'"),
        ("ssh://git@-oProxyCommand=x/x.git", "host name"),
        ("-oProxyCommand=x@h:x.git", "Give the URL"),
        ("git@-oProxyCommand:x.git", "host name"),
        ("git@h:-x.git", "names no repository"),
        ("git@h:team/../x.git", "names no repository"),
        ("git@h:größe", "write ssh://"),
        ("git@[::1]:x.git", "no scheme"),
        ("git@h:x@[evil]:y", "cannot hold '@"),
        ("ssh://git@h/x@[evil]:y", "cannot hold '@"),
        ("ssh://git@h/x%40%5Bevil]:y", "cannot hold '@"),
        ("a::b", "no scheme"),
        ("git://h/x.git", "git:// is not accepted"),
        ("ftp://h/x", "ftp:// is not accepted"),
        ("ext::sh -c touch% /tmp/x", "space"),
        ("https://ada:word@h/x", "user name or password"),
        ("https://token@h/x", "user name or password"),
        ("https://h/x?access_token=word", "query or fragment"),
        ("https://h/x#readme", "query or fragment"),
        ("https://h/a b", "space"),
        ("https://h/a\nb", "control character"),
        ("https://h/a%0Ab", "control character"),
        ("https://h/a%00b", "control character"),
        ("https://h\\@evil/x", "backslash"),
        ("https:///x", "host name"),
        ("https://-h/x", "host name"),
        ("https://h_x/x", "host name"),
        ("https://größe.example/x", "xn--grsse-kua.example"),
        ("https://h..example/x", "host name"),
        ("https://h.example./x", "host name"),
        ("https://h.-a.example/x", "host name"),
        ("https://[::1%25eth0]/x", "host name"),
        ("https://2130706433/x", "four decimal numbers"),
        ("https://0x7f000001/x", "four decimal numbers"),
        ("https://0177.0.0.1/x", "four decimal numbers"),
        ("https://127.1/x", "four decimal numbers"),
        ("https://127.0.0.0x1/x", "four decimal numbers"),
        ("https://h:22/x", "Port 22"),
        ("https://h:0/x", "Port 0"),
        ("ssh://git@h:80/x", "Port 80"),
        ("https://h:9418/x", "Port 9418"),
        ("https://h/a%5Cb", "backslash"),
        ("https://h", "names no repository"),
        ("https://h/", "names no repository"),
        ("https://h/../x", "names no repository"),
        ("https://h/a/%2e%2e/x", "names no repository"),
        ("https://h/a/-x", "names no repository"),
        ("https://h/.git", "No name"),
        ("https://h:99999/x", "cannot be read"),
        ("https://h:port/x", "cannot be read"),
        ("https://[::1/x", "cannot be read"),
    ],
)
def test_what_is_refused_is_refused_with_what_to_do(url, complaint):
    with pytest.raises(BadURL, match=complaint):
        parse(url)


def test_a_refusal_does_not_repeat_a_password():
    with pytest.raises(BadURL) as caught:
        parse("https://ada:secret@h/x")

    assert "secret" not in str(caught.value)


SEGMENTS = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=4)


@given(segments=SEGMENTS, host=st.from_regex(r"[A-Za-z0-9.-]{1,20}", fullmatch=True))
@example(segments=["a.git.git.git"], host="h")
@example(segments=["x", "..a.git"], host="h")
@example(segments=["%2egit"], host="h")
def test_what_is_accepted_stays_as_it_is_and_suggests_usable_names(segments, host):
    try:
        parsed = parse(f"https://{host}/{'/'.join(segments)}")
    except BadURL:
        return

    assert parse(parsed.url) == parsed
    assert urlsplit(parsed.url).hostname == parsed.hostname
    for name in (parsed.suggested_group, parsed.suggested_name):
        try:
            PATH_SEGMENT(name)
        except ValidationError:
            pytest.fail(f"{name!r} is suggested and would be refused")


@given(st.text())
def test_any_text_is_accepted_or_refused_and_nothing_else(text):
    with contextlib.suppress(BadURL):
        parsed = parse(text)
        assert parsed.scheme in {"http", "https", "ssh"}
        assert parsed.scheme == "ssh" or "@" not in parsed.url.split("/")[2]


PARTS = st.from_regex(r"\A[A-Za-z0-9._-]{1,8}\Z")


@given(st.sampled_from(["http", "https"]), st.lists(PARTS, min_size=1, max_size=4), st.integers(0, 70_000))
@example("https", ["a", "x.git"], 443)
@example("https", ["_", "_.git"], 59_999)
@example("http", ["a.git", ".git"], 1_024)
def test_a_plain_url_is_read_as_any_other(scheme, segments, port):
    plain = f"{scheme}://h.example:{port}/{'/'.join(segments)}"
    assert _read(plain) == _read(f" {plain}")  # The space keeps it from being taken for plain.


def _read(url):
    try:
        found = parse(url)
    except BadURL as error:
        return str(error)
    return found, found.suggested_group, found.suggested_name
