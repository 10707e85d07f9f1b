"""The instruments of the attack see what they are for, and its DNS answers as DNS does."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.acceptance.attack import fuzz
from tests.lab.canary import Canary
from tests.lab.dns_double import AAAA, A, DnsDouble, always, in_turn
from tests.verify.attack_cases import _taken_wrongly

ROOT = Path(__file__).resolve().parents[2]


def question(name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return b"\x12\x34\x01\x00\x00\x01" + b"\0" * 6 + labels + b"\0" + kind.to_bytes(2, "big") + b"\0\x01"


def addresses(answer: bytes, *, size: int) -> list[bytes]:
    count = int.from_bytes(answer[6:8], "big")
    return [answer[len(answer) - (n + 1) * (12 + size) + 12 :][:size] for n in reversed(range(count))]


def test_dns_answers_by_turn_and_by_kind():
    zone = {"a.example": in_turn(["192.0.2.1"], ["192.0.2.2", "::1"]), "*.b.example": always("192.0.2.3")}
    with DnsDouble(zone, address=("127.0.0.1", 0), note=lambda *_, **__: None) as double:

        def ask(name, kind=A, size=4):
            return addresses(double.answer(question(name, kind)), size=size)

        assert ask("a.example") == [bytes([192, 0, 2, 1])]
        assert ask("a.example") == ask("a.example") == [bytes([192, 0, 2, 2])]
        assert ask("A.b.EXAMPLE") == [bytes([192, 0, 2, 3])]
        assert ask("a.example", AAAA, 16) == []
        assert ask("a.example", AAAA, 16) == [bytes(15) + b"\x01"]
        assert double.answer(question("nowhere.example", A))[3] & 0x0F == 3


def test_a_connection_to_the_canary_is_noted_with_what_was_said():
    noted = []
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    canary = Canary([("127.0.0.1", port)], note=lambda event, **fields: noted.append((event, fields)))
    with canary, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /secret")
        time.sleep(0.5)

    assert [event for event, _ in noted] == ["canary", "canary_heard"]
    assert noted[0][1]["at"] == f"127.0.0.1 {port}"
    assert noted[1][1]["said"] == "GET /secret"


def test_the_watcher_sees_secrets_in_arguments_and_environment_and_weighs_git(tmp_path):
    log = tmp_path / "proc.jsonl"
    command = [sys.executable, "-m", "tests.verify.proc_watch", "--log", str(log), "--below", str(tmp_path)]
    fat = "import sys, time; x = bytearray(50 << 20); time.sleep(1)"
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as watcher:
        watcher.stdin.write(b'["needle-1", "needle-2"]\n')
        watcher.stdin.flush()
        assert json.loads(watcher.stdout.readline()) == {"watching": True}
        words = [sys.executable, "-c", fat, "git", f"--git-dir={tmp_path}/x.git", "needle-1"]
        subprocess.run(words, env={"SECRET": "needle-2"}, start_new_session=True, check=True)
        watcher.stdin.close()
        watcher.wait(10)

    seen = [json.loads(line) for line in log.read_text().splitlines()]
    assert {(e["where"], e["needle"]) for e in seen if e["event"] == "secret"} == {
        ("argv", "needle-1"), ("environ", "needle-2"),
    }  # fmt: skip
    assert max(e["bytes"] for e in seen if e["event"] == "memory") > 50 << 20
    assert seen[-1]["event"] == "end"
    assert seen[-1]["looks"] > 5


def test_the_same_seed_gives_the_same_urls_and_another_seed_others():
    assert list(fuzz.urls(1, 200)) == list(fuzz.urls(1, 200)) != list(fuzz.urls(2, 200))


ORDINARY = (
    "https://git.example.org/a/b.git",
    "http://a.example:8080/x",
    "ssh://git@a.example/x",
    "ssh://git@a.example:2222/~x/y",
    "git@a.example:x",
    "https://[2600::1]/x.git",
    "http://11.0.0.1/x",
)


def test_the_verifier_has_nothing_against_ordinary_urls():
    for url in ORDINARY:
        assert _taken_wrongly({"normal": url, "again": url}) == ""
