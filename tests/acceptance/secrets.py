"""Put canary secrets into every kind of credential, run the whole stack on them, and look for them everywhere.

    python -m tests.acceptance.secrets          SEED=... another run, KEEP=1 keep the folder

The upstreams take the right password, refuse a wrong one, and redirect to another host that notes what it is shown. The
last line is "secrets ok: ..." or "secrets FAILED: ...".
"""

import os
import random
import secrets
import shutil
import sqlite3
import string
import subprocess
import sys
import tempfile
import threading
import time
from http.cookiejar import CookieJar
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

import redis

from tests.acceptance import processes
from tests.acceptance.journal import Journal
from tests.acceptance.plan import Failed
from tests.acceptance.stack import MANAGE, Stack
from tests.lab import repositories
from tests.lab.github_api import GitHubAPI, new_key
from tests.lab.http_server import GitServer, basic
from tests.lab.ssh_server import SshServer
from tests.verify.canaries import Canaries, ProcWatch

PATIENCE = 90.0
MUST_SEE = ("argv", "environ", "state folder", "redis commands", "admin", "api", "database", "git processes")
RECORDING_GIT = """#!/bin/sh
# Not by its number, which in a name space of its own is another's.
seen=$(mktemp "{folder}/XXXXXXXX")
cat </proc/self/cmdline >"$seen"
cat </proc/self/environ >>"$seen"
exec {git} "$@"
"""


class Elsewhere(ThreadingHTTPServer):
    """Another host: it redirects nowhere, and remembers what it was shown."""

    def __init__(self) -> None:
        self.shown: list[bytes] = []
        super().__init__(("127.0.0.1", 0), _Noting)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True).start()


class _Noting(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.shown.append(bytes(self.headers))  # type: ignore[attr-defined]
        self.send_error(401)

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


class Run:
    """One run: its secrets, its upstreams, its stack."""

    def __init__(self, folder: Path, *, seed: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        marker = f"control{seed}x{secrets.token_hex(4)}"
        self.canaries = Canaries(control=marker)
        self.marker = marker
        self.temporary = folder / f"tmp-{marker}"
        self.temporary.mkdir()
        self.outcomes: dict[str, str] = {}

    def word(self, name: str) -> str:
        """Return a new canary that looks like a password, with characters that need quoting."""
        letters = "".join(self.random.choices(string.ascii_letters + string.digits, k=28))
        return self.canaries.add(name, f"Cn{letters[:9]}+/{letters[9:18]} {letters[18:]}é")

    def token(self, name: str, prefix: str) -> str:
        """Return a new canary that looks like a token."""
        return self.canaries.add(name, prefix + "".join(self.random.choices(string.ascii_letters, k=36)))


def main() -> int:
    """Run, search, and say what was found."""
    seed = int(os.environ.get("SEED", "0")) or secrets.randbelow(10**6)
    folder = Path(tempfile.mkdtemp(prefix="secrets-"))
    began = time.monotonic()
    run = Run(folder, seed=seed)
    try:
        problems = _run(run)
    except Failed as error:
        problems = [str(error)]
    finally:
        if not os.environ.get("KEEP"):
            shutil.rmtree(folder, ignore_errors=True)
    found = run.canaries.found
    for line in [*problems, *found[:20]]:
        print(line)
    verdict = "FAILED" if found or problems else "ok"
    searched = sum(run.canaries.searched.values())
    print(
        f"secrets {verdict}: seed={seed} kinds=3 secrets={len(run.canaries.secrets)} imports={len(run.outcomes)} "
        f"sinks={len(run.canaries.searched)} searches={searched} secrets_found={len(found)} "
        f"seconds={time.monotonic() - began:.0f}",
        flush=True,
    )
    return 1 if found or problems else 0


def _run(run: Run) -> list[str]:
    key = run.canaries.add("app key", new_key())
    journal = Journal(run.folder / "journal.jsonl")
    watch = ProcWatch(run.canaries, pattern=run.marker.encode())
    sshd = SshServer(run.folder / "sshd")
    run.canaries.add("ssh key in use", sshd.client_key.read_text())
    with GitServer() as server, GitHubAPI(private_key=key) as api, sshd:
        elsewhere = Elsewhere()
        plan = SimpleNamespace(cap=4)
        stack = Stack(run.folder, plan, journal, git=str(_recording_git(run)))  # type: ignore[arg-type]
        stack.environment |= {"TMPDIR": str(run.temporary), "LOG_LEVEL": "DEBUG"}
        watch.start()
        with stack:
            url = stack.wait_until_up()
            monitor = Monitor(url, run.canaries)
            _mirror_everything(run, stack, server, api, elsewhere, sshd)
            _look_at_pages(run, stack)
            monitor.stop()
            _look_into_redis(run, url)
        watch.stop()
        for shown in elsewhere.shown:
            run.canaries.search(shown, sink="the other host")
        issued = len(api.issued)
    _look_at_what_is_left(run, stack)
    elsewhere.shutdown()
    return _problems(run, elsewhere=elsewhere, issued=issued, programs=watch.programs)


def _recording_git(run: Run) -> Path:
    """Return a git that writes down its arguments and environment, from inside, before it starts."""
    (run.folder / "git").mkdir()
    path = run.folder / "recording-git"
    path.write_text(RECORDING_GIT.format(folder=run.folder / "git", git=shutil.which("git")))
    path.chmod(0o755)
    return path


# -- what the run consists of -----------------------------------------------------------------------------------------


def _mirror_everything(
    run: Run, stack: Stack, server: GitServer, api: GitHubAPI, elsewhere: Elsewhere, sshd: SshServer
) -> None:
    host = server.url.removeprefix("http://")
    upstream = repositories.make_upstream(run.folder / "upstreams", seed=1, number=0, shape="plain")
    right, wrong = run.word("right password"), run.word("wrong password")
    token = run.token("installation token", "ghs_")
    api.names = lambda number: token
    behaviours = {
        "right": f"slow:0.3+auth:robot:{right}",
        "wrong": f"slow:0.3+auth:robot:{right}",
        "bound": f"auth:robot:{right}",
        "moved": f"moved:302:{elsewhere.url}",
        "app": f"slow:0.3+auth:x-access-token:{token}",
        "ssh": "",
    }
    urls = {
        name: server.add(f"{run.marker}/{name}", upstream.path, behaviour=behaviour)
        for name, behaviour in behaviours.items()
    }
    keep = _Keeper(stack)
    keep("password", "right", right, "--host", host, "--allow-http", "--user", "robot")
    keep("password", "wrong", wrong, "--host", host, "--allow-http", "--user", "robot")
    keep("password", "bound", run.word("bound elsewhere"), "--host", "elsewhere.example", "--allow-http")
    keep("password", "moved", run.word("redirected"), "--host", host, "--allow-http")
    keep(
        *("github-app", "app", run.canaries.secrets["app key"], "--host", host, "--allow-http"),
        *("--app", api.app_id, "--installation", api.installation, "--api", api.url),
    )
    keep("ssh-key", "key", sshd.client_key.read_text(), "--host", f"127.0.0.1:{sshd.port}")
    stack.cli(
        "mirror",
        "add",
        sshd.url(_marked(run, upstream.path)),
        "--group",
        run.marker,
        "--name",
        "key",
        "--credential",
        "key",
    )
    stack.cli("host", "trust", f"127.0.0.1:{sshd.port}", "--key", sshd.host_key)
    stack.cli("mirror", "sync", "key")
    keep("ssh-key", "ssh", run.canaries.add("ssh key", _ssh_key(run.folder)), "--host", host)
    _wrong_ways_in(run, stack)
    for name in ("right", "wrong", "moved", "app"):
        stack.cli("mirror", "add", urls[name], "--group", run.marker, "--name", name, "--credential", name)
    # Past every check of the ways in: the hand-over itself has to refuse.
    for name in ("bound", "ssh"):
        stack.cli("mirror", "add", urls[name], "--group", run.marker, "--name", name)
        with sqlite3.connect(stack.state / "db.sqlite3", timeout=20) as database:
            database.execute(
                "UPDATE mirroring_mirror SET credential_id = (SELECT id FROM mirroring_credential WHERE name = ?)"
                " WHERE name = ?",
                (name, name),
            )
        stack.cli("mirror", "sync", name)
    run.outcomes = _outcomes(stack, expected=len(urls) + 1)
    run.outcomes["key"] = _wait_for(stack, "key", {"changed", "unchanged"})
    replaced = run.word("replacement")
    server.behave(f"{run.marker}/wrong", f"slow:0.3+auth:robot:{replaced}")
    _cli_with_secret(stack, replaced, "credential", "replace", "wrong")
    run.outcomes["replaced"] = _wait_for(stack, "wrong", {"changed", "unchanged"})
    stack.cli("credential", "rotate-keys")


def _marked(run: Run, path: Path) -> Path:
    """Return another name of a repository, by which the processes that work on it are known."""
    marked = run.folder / f"{run.marker}.git"
    marked.symlink_to(path)
    return marked


class _Keeper:
    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def __call__(self, kind: str, name: str, secret: str, *options: str) -> None:
        _cli_with_secret(self._stack, secret, "credential", "add", kind, name, *options)


def _cli_with_secret(stack: Stack, secret: str, *words: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, MANAGE, words[0], "--verbosity", "2", *words[1:], "--json"],
        cwd=processes.ROOT,
        env=stack.environment,
        input=secret.encode(),
        capture_output=True,
        timeout=90,
        check=False,
    )
    if done.returncode != code:
        raise Failed(f"`manage.py {' '.join(words)}` ended with {done.returncode}: {done.stderr!r}")
    (stack.folder / "said").open("ab").write(done.stdout + done.stderr)
    return done.stdout.decode()


def _ssh_key(folder: Path) -> str:
    from mirroring.rules.key_pairs import new_ssh_key

    return new_ssh_key().private


def _wrong_ways_in(run: Run, stack: Stack) -> None:
    """Give secrets in ways that are refused: a refusal must not repeat them."""
    two = f"{run.word('first of two lines')}\n{run.word('second of two lines')}"
    _cli_with_secret(stack, two, "credential", "add", "password", "x", "--host", "h.example", code=1)
    _cli_with_secret(
        stack, run.word("no key"), "credential", "add", "ssh-key", "x", "--host", "h.example", code=1
    )
    url = f"http://{run.token('token in a URL', 'ghp_')}@127.0.0.1/{run.marker}"
    words = [sys.executable, MANAGE, "mirror", "import", "-"]
    done = subprocess.run(
        words, cwd=processes.ROOT, env=stack.environment, input=url.encode(), capture_output=True, check=False
    )
    (stack.folder / "said").open("ab").write(done.stdout + done.stderr)


def _outcomes(stack: Stack, *, expected: int) -> dict[str, str]:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        rows = stack.cli("mirror", "list")
        outcomes = {row["name"].rpartition("/")[2]: row["last_outcome"] for row in rows}
        bound = {outcomes["bound"], outcomes["ssh"]}
        if len(outcomes) == expected and all(outcomes.values()) and bound <= {"auth", "blocked"}:
            return outcomes
        for name in ("bound", "ssh"):  # The import that began before the credential was put on it.
            if outcomes[name] not in {"auth", "blocked"}:
                stack.cli("mirror", "sync", name)
        time.sleep(0.5)
    raise Failed(f"not every mirror was tried: {outcomes}")


def _wait_for(stack: Stack, name: str, outcomes: set[str]) -> str:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        outcome = str(stack.cli("mirror", "show", name)["last_outcome"])
        if outcome in outcomes:
            return outcome
        time.sleep(0.5)
    raise Failed(f"{name} did not become {outcomes}, it is {outcome}")


# -- where is looked --------------------------------------------------------------------------------------------------


class Monitor(threading.Thread):
    """Reads every command that any client sends to Redis."""

    def __init__(self, url: str, canaries: Canaries) -> None:
        super().__init__(daemon=True)
        self._canaries = canaries
        self._client = redis.Redis.from_url(url)
        self._lines: list[bytes] = []
        self.start()

    def run(self) -> None:
        """Note the commands."""
        try:
            with self._client.monitor() as monitor:
                for command in monitor.listen():
                    self._lines.append(command["command"].encode(errors="replace"))
        except (redis.ConnectionError, OSError, ValueError):
            return

    def stop(self) -> None:
        """Search what was noted."""
        self._client.close()
        commands = b"\n".join(self._lines)
        if b"mirroring.tasks.update_mirror" in commands:
            commands += (
                self._canaries.control.encode()
            )  # Messages hold ids, no names: this is what was to be seen.
        self._canaries.search(commands, sink="redis commands")


def _look_into_redis(run: Run, url: str) -> None:
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(count=1000):
            run.canaries.search(key + (client.dump(key) or b""), sink="redis keys", where=repr(key))
        client.save()


def _look_at_pages(run: Run, stack: Stack) -> None:
    browser = build_opener(HTTPCookieProcessor(jar := CookieJar()))
    password = (stack.state / "admin_password").read_text().strip()
    browser.open(f"{stack.web}/admin/login/", timeout=10).read()
    token = next(cookie.value for cookie in jar if cookie.name == "csrftoken")
    form = {"username": "admin", "password": password, "csrfmiddlewaretoken": token, "next": "/admin/"}
    browser.open(f"{stack.web}/admin/login/", urlencode(form).encode(), timeout=10).read()
    rows = {kind: range(1, 8) for kind in ("credential", "mirror")}
    pages = ["", "mirroring/importattempt/", "mirroring/host/", "mirroring/credential/add/"]
    for kind, numbers in rows.items():
        pages += [
            f"mirroring/{kind}/",
            *(f"mirroring/{kind}/{n}/{what}/" for n in numbers for what in ("change", "history")),
        ]
    for page in pages:
        run.canaries.search(_page(browser, f"{stack.web}/admin/{page}"), sink="admin", where=page)
    for path in ("/metrics", "/-/readyz", "/-/version"):
        run.canaries.search(_page(browser, stack.web + path), sink=path)
    scopes = [word for scope in ("read_credentials", "read_flags") for word in ("--scope", scope)]
    header = {"PRIVATE-TOKEN": stack.cli("token", "issue", "secrets", *scopes)["token"]}
    for path in ("/api/credentials", "/api/credentials/right", "/api/flags/audit", "/api/status"):
        run.canaries.search(_page(browser, Request(stack.web + path, headers=header)), sink="api", where=path)
    _look_at_flower(run, stack)


def _look_at_flower(run: Run, stack: Stack) -> None:
    url = f"http://127.0.0.1:{stack.environment['FLOWER_PORT']}"
    header = {"Authorization": basic(f"admin:{(stack.state / 'flower_password').read_text().strip()}")}
    for path in ("/", "/workers", "/tasks", "/broker", "/api/tasks?limit=1000", "/api/workers?refresh=1"):
        page = _page(build_opener(), Request(url + path, headers=header))
        if b"update_mirror" in page:
            page += run.marker.encode()  # It shows ids and times of imports: that is what was to be seen.
        run.canaries.search(page, sink="flower", where=path)


def _page(browser: Any, request: Any) -> bytes:
    try:
        with browser.open(request, timeout=15) as answer:
            return bytes(answer.read())
    except OSError as error:
        return bytes(getattr(error, "read", lambda: b"")())


def _look_at_what_is_left(run: Run, stack: Stack) -> None:
    with sqlite3.connect(stack.state / "db.sqlite3") as database:
        dump = "\n".join(database.iterdump())
    run.canaries.search(dump.encode(), sink="database")
    # Everything that the stack has written: logs, database, Redis' files, repositories.
    run.canaries.search_tree(stack.state, sink="state folder")
    run.canaries.search_tree(run.temporary, sink="temporary files")
    for name in ("up.log", "said", "journal.jsonl"):
        run.canaries.search((run.folder / name).read_bytes(), sink="terminal", where=name)
    for path in (run.folder / "git").iterdir():
        run.canaries.search(path.read_bytes(), sink="git processes", where=path.name)
    for place in (Path("/dev/shm"), Path(tempfile.gettempdir())):
        for left in place.glob("mirroring-key-*"):
            run.canaries.search_tree(left, sink="key folders")


def _problems(run: Run, *, elsewhere: Elsewhere, issued: int, programs: Any) -> list[str]:
    wanted = {
        "right": "changed",
        "wrong": "auth",
        "app": "changed",
        "bound": "auth",
        "ssh": "auth",
        "key": "changed",
        "replaced": "changed",
    }
    problems = [
        f"{name} ended as {run.outcomes.get(name)}, not {outcome}"
        for name, outcome in wanted.items()
        if run.outcomes.get(name) != outcome
    ]
    if run.outcomes.get("moved") in {"changed", "unchanged"}:
        problems.append("the redirected mirror was imported from a host that has no repository")
    problems += [
        f"the search of {sink} saw nothing at all" for sink in run.canaries.blind(*MUST_SEE, "flower")
    ]
    if issued == 0:
        problems.append("no installation token was ever issued")
    if not programs["git-remote-http"] and not programs["git"]:
        problems.append(f"no git was seen at work, only {dict(programs)}")
    return problems


if __name__ == "__main__":
    sys.exit(main())
