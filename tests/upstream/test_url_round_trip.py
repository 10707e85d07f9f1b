"""What is accepted means the same server to Python, to git with curl, and to git with ssh: each is asked."""

import ipaddress
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from mirroring.upstream.policy.urls import BadURL, parse

HOSTS = st.one_of(
    st.text("aB1.-_x", min_size=1, max_size=12),
    st.text("ab1.-:@[]%0x/\\?#~;,é\t", min_size=1, max_size=10),
    st.ip_addresses().map(lambda address: f"[{address}]" if address.version == 6 else str(address)),
)

pytestmark = pytest.mark.one_database
PORTS = st.sampled_from(["", "", ":80", ":443", ":2222", ":08443", ":"])
PATHS = st.text("aZ1.-_~%2e/:@!$&'()*+,;=é\"<>^`{|}", min_size=1, max_size=12)
FEW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


class Recorder(BaseHTTPRequestHandler):
    """A proxy that forwards nothing: its log has the server that each client wanted to reach."""

    seen: list[str]

    def answer(self):
        self.seen.append(f"https://{self.path}" if self.command == "CONNECT" else self.path)
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_CONNECT = answer

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def ask_curl(tmp_path_factory):
    """Return a function that lets git fetch a URL through a recording proxy, and returns the origin it asked for."""
    seen: list[str] = []
    handler = type("_", (Recorder,), {"seen": seen})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

        def ask(url):
            seen.clear()
            run_git(url, **{"http.proxy": f"http://127.0.0.1:{server.server_port}"})
            return urlsplit(seen[0])

        yield ask
        server.shutdown()


@pytest.fixture(scope="module")
def ask_ssh(tmp_path_factory):
    """Return a function that lets git call ssh for a URL, and returns what ssh makes of it."""
    folder = tmp_path_factory.mktemp("ssh")
    script = folder / "ssh"
    script.write_text(f'#!/bin/sh\nexec ssh -F /dev/null -G "$@" > {folder}/said\n')
    script.chmod(0o755)

    def ask(url):
        (folder / "said").write_text("")
        run_git(url, GIT_SSH=str(script))
        return dict(line.partition(" ")[::2] for line in (folder / "said").read_text().splitlines())

    return ask


def run_git(url, GIT_SSH="/bin/false", **config):
    pairs = [word for name, value in config.items() for word in ("-c", f"{name}={value}")]
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_SSH": GIT_SSH,
        "GIT_SSH_VARIANT": "ssh",
        "HOME": "/nonexistent",
    }
    environment |= {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(
        ["git", *pairs, "ls-remote", "--", url], env=environment, capture_output=True, timeout=20, check=False
    )


def accepted(url):
    try:
        return parse(url)
    except BadURL:
        return assume(False)


def host_of(name):
    """ssh writes some IPv6 addresses in another way."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return name


@FEW
@given(scheme=st.sampled_from(["http", "HTTPS"]), host=HOSTS, port=PORTS, path=PATHS)
@example(scheme="https", host="[::ffff:127.0.0.1]", port=":8443", path="x")
@example(scheme="http", host="h", port=":08080", path="a%2fb//c;d@e:1")
def test_git_and_curl_reach_the_host_that_was_judged(ask_curl, scheme, host, port, path):
    parsed = accepted(f"{scheme}://{host}{port}/{path}")

    asked = ask_curl(parsed.url)

    assert asked.hostname == parsed.hostname == urlsplit(parsed.url).hostname
    assert (asked.port or 80) == parsed.port


@FEW
@given(user=st.text("git-_.+é@:", max_size=6), host=HOSTS, port=PORTS, path=PATHS)
@example(user="git", host="[::1]", port=":2222", path="~ada/x")
@example(user="git", host="h", port="", path="x[y]:z")
def test_git_and_ssh_reach_the_host_that_was_judged(ask_ssh, user, host, port, path):
    parsed = accepted(f"ssh://{user}@{host}{port}/{path}")

    asked = ask_ssh(parsed.url)

    assert (int(asked["port"]), asked["user"]) == (parsed.port, parsed.user)
    assert host_of(asked["hostname"]) == host_of(parsed.hostname)
    assert urlsplit(parsed.url).hostname == parsed.hostname


@FEW
@given(user=st.text("git-_.+é@:", max_size=6), host=HOSTS, path=PATHS)
@example(user="git", host="h.example", path="2222/x")
@example(user="git", host="h", path="x[y]:z")
def test_git_and_ssh_reach_the_host_that_was_judged_in_the_short_form(ask_ssh, user, host, path):
    parsed = accepted(f"{user}@{host}:{path}")
    assume("://" not in parsed.url)

    asked = ask_ssh(parsed.url)

    assert (asked["port"], asked["user"]) == ("22", parsed.user)
    assert host_of(asked["hostname"]) == host_of(parsed.hostname)
