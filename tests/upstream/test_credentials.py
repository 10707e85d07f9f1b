"""How a secret reaches git and nobody else: real git, real servers, and what /proc shows meanwhile."""

import json
import os
import pickle
import stat
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from mirroring.rules import key_pairs
from mirroring.rules.outcomes import Outcome
from mirroring.upstream.access import credentials
from mirroring.upstream.access.credentials import ASKPASS, Secret, SecretKind, handed_over, sweep_keys
from mirroring.upstream.errors import GitError
from mirroring.upstream.policy import urls
from tests.making import heads_and_tags, refs_of

pytestmark = pytest.mark.one_database

UPSTREAM = urls.parse("https://git.example.org:8443/team/project.git")
PASSWORD = "pa ss\\wörd'\"$(id)`%s"


def basic(username="robot", password=PASSWORD):
    return Secret(SecretKind.BASIC, username=username, password=password)


def ask(question, *, secret=None, url=UPSTREAM, times=1):
    """Return what the helper answers to git, as git would start it."""
    with handed_over(secret or basic(), url=url) as handover:
        return [
            subprocess.run(
                [ASKPASS, question],
                env={"PATH": os.environ["PATH"], **handover.environment},
                pass_fds=handover.pass_fds,
                capture_output=True,
                text=True,
            )
            for _ in range(times)
        ]


def test_a_mirror_of_a_protected_upstream_is_imported(bring, repository, make_upstream, git_server):
    upstream = make_upstream()
    url = git_server.add(upstream.name, upstream.path, behaviour=f"auth:robot:{PASSWORD}")

    bring(url, secret=basic())

    assert refs_of(repository.path) == heads_and_tags(upstream.path)


@pytest.mark.parametrize("secret", [None, basic(password="wrong"), basic(username="wrong")])
def test_without_the_right_secret_the_upstream_refuses(bring, make_upstream, git_server, secret):
    upstream = make_upstream()
    url = git_server.add(upstream.name, upstream.path, behaviour=f"auth:robot:{PASSWORD}")

    with pytest.raises(GitError) as refused:
        bring(url, secret=secret)

    assert refused.value.outcome is Outcome.AUTH
    assert "wrong" not in refused.value.detail


def test_git_is_answered_name_and_password_whatever_stands_in_them():
    [name] = ask("Username for 'https://git.example.org:8443': ")
    [password] = ask("Password for 'https://robot@git.example.org:8443': ")

    assert (name.stdout, password.stdout) == ("robot\n", f"{PASSWORD}\n")


def test_the_answers_do_not_run_out_for_a_second_connection():
    answers = ask("Password for 'https://robot@git.example.org:8443': ", times=4)

    assert {answer.stdout for answer in answers} == {f"{PASSWORD}\n"}


@pytest.mark.parametrize(
    "question",
    [
        "Password for 'https://robot@evil.example': ",
        "Password for 'http://robot@git.example.org:8443': ",
        "Password for 'https://robot@git.example.org': ",
        "Password for 'https://robot@git.example.org:8443.evil.example': ",
        "Password for 'https://git.example.org:8443@evil.example': ",
        "Username for 'https://evil.example': ",
        "Enter passphrase for key '/x': ",
        "robot@git.example.org:8443's password: ",
        "",
    ],
)
def test_a_question_from_elsewhere_gets_no_answer(question):
    [answer] = ask(question)

    assert (answer.returncode, answer.stdout) == (1, "")
    assert "wörd" not in answer.stderr


def test_a_secret_is_in_no_argument_environment_or_open_file_name():
    with handed_over(basic(), url=UPSTREAM) as handover:
        assert "wörd" not in json.dumps(handover.environment, ensure_ascii=False)
        sleeper = subprocess.Popen(["sleep", "60"], env=handover.environment, pass_fds=handover.pass_fds)
        try:
            of = Path("/proc", str(sleeper.pid))
            shown = (of / "cmdline").read_bytes() + (of / "environ").read_bytes()
        finally:
            sleeper.kill()
            sleeper.wait()

    assert "wörd".encode() not in shown


def test_a_secret_does_not_show_itself_and_does_not_travel():
    secret = Secret(SecretKind.SSH, password="hidden-1", private_key="hidden-2")

    assert "hidden" not in f"{secret!r} {secret}"
    with pytest.raises(TypeError, match="not to be stored"):
        pickle.dumps(secret)


def open_files():
    return {file.name for file in Path("/proc/self/fd").iterdir()}


def test_the_pipe_is_closed_behind_the_process():
    before = open_files()

    ask("Username for 'https://git.example.org:8443': ")

    assert open_files() == before


def ssh_key():
    return Secret(SecretKind.SSH, private_key=key_pairs.new_ssh_key().private)


def test_an_ssh_key_is_a_private_file_for_as_long_as_it_is_needed():
    secret = ssh_key()

    with handed_over(secret, url=UPSTREAM) as handover:
        path = handover.ssh_key
        assert path.read_text() == secret.private_key
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert path.stat().st_uid == os.geteuid()

    assert not path.parent.exists()


def test_a_key_goes_also_when_its_process_failed():
    with pytest.raises(RuntimeError), handed_over(ssh_key(), url=UPSTREAM) as handover:
        raise RuntimeError

    assert not handover.ssh_key.parent.exists()


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(credentials, "IN_MEMORY", tmp_path)
    return tmp_path


def test_the_key_of_a_killed_process_is_swept_and_one_in_use_is_not(place):
    child = os.fork()
    if not child:
        with handed_over(ssh_key(), url=UPSTREAM):
            os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    [left] = place.iterdir()
    assert (left / "key").exists()

    with handed_over(ssh_key(), url=UPSTREAM) as handover:
        assert sweep_keys(older_than=timedelta(days=-1)) == 1
        assert handover.ssh_key.exists()
    assert not left.exists()


def test_a_folder_that_was_made_just_now_is_not_swept(place):
    (place / f"{credentials.KEY_FOLDER}new").mkdir()

    assert sweep_keys() == 0
    assert len(list(place.iterdir())) == 1
