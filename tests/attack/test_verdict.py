"""The verifier of the attack: evidence of a good run passes, and with each fault planted in it fails."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.verify.attack import judge

NEEDLE = "canary-0123"
PLACE = "127.0.0.1 80"


class Evidence:
    """What a small, good run leaves behind, to be spoilt by a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = folder / "state" / "repositories" / "x.git"
        self.plan: dict[str, Any] = {"only": [], "needles": [NEEDLE], "decoy": "decoy-1", "live": 2}
        self.cases = [
            self.case("url/000", "http://127.0.0.1/x", ["blocked"], door="refused", taken=False),
            self.case("bomb/zlib", "http://hub.example/x", ["too_big"]),
        ]
        self.rows = [self.row("attack/url-000", "blocked"), self.row("attack/bomb-zlib", "too_big")]
        self.fuzz = [
            {"url": "x", "taken": False, "why": "no"},
            {"url": "http://a.example/x", "taken": True, "normal": "http://a.example/x", "again": "http://a.example/x"},
        ]  # fmt: skip
        self.world = [
            {"event": "canary_check", "begin": True},
            {"event": "canary", "at": PLACE},
            {"event": "canary_check", "places": [PLACE]},
            self.request("secret-basic", "basic.secret.hub.example", f"Basic {NEEDLE}"),
        ]
        self.proc = [
            {"event": "secret", "needle": "decoy-1", "where": where, "command": "python"}
            for where in ("argv", "environ")
        ]
        self.proc.append(self.memory(40))
        self.proc.append({"event": "end", "looks": 1_000, "slowest": 0.1})
        self.events: list[dict[str, Any]] = [{"event": "stopped"}]
        self.visits = {arm: {0: [2.5, 22.9, 43.2], 1: [4.1, 24.6, 44.9]} for arm in ("without", "with")}
        self.dead = [{**self.row("dead/m0", "hung"), "fresh": False}]

    def case(
        self, name: str, url: str, ends: list[str], *, door: str = "any", taken: bool = True
    ) -> dict[str, Any]:
        verdict = {"url": url, "taken": taken}
        return {"name": name, "url": url, "ends": ends, "door": door, "repository": "", "rounds": 1, "tags": [],
                "verdict": verdict}  # fmt: skip

    def row(self, name: str, outcome: str, *, error: str = "refused") -> dict[str, Any]:
        attempts = [{"outcome": outcome, "error": error, "ended": True}]
        return {"name": name, "status": "failed", "outcome": outcome, "error": error, "fresh": False,
                "repository": str(self.repository), "attempts": attempts}  # fmt: skip

    def request(self, case: str, host: str, authorization: str) -> dict[str, Any]:
        headers = {"host": host, "authorization": authorization}
        return {"event": "request", "case": case, "path": f"/{case}/x.git/info/refs", "headers": headers}

    def memory(self, megabytes: int, command: str = "git --git-dir={} index-pack") -> dict[str, Any]:
        return {"event": "memory", "bytes": megabytes << 20, "commands": [command.format(self.repository)]}

    def judged(self) -> tuple[bool, str]:
        self._json("plan.json", self.plan)
        self._lines("cases.jsonl", self.cases)
        self._lines("fuzz.jsonl", self.fuzz)
        self._json("mirrors.json", self.rows)
        self._json("map.json", {"attack/bomb-zlib": str(self.repository)})
        self._lines("world.jsonl", self.world)
        self._lines("proc.jsonl", self.proc)
        self._lines("events.jsonl", self.events)
        for name in ("sinks/redis.txt", "sinks/metrics.txt", "redis-monitor.txt", "state/db.sqlite3"):
            if not (self.folder / name).exists():
                self._text(name, "nothing secret")
        self.repository.mkdir(parents=True, exist_ok=True)
        if not (self.repository / "config").exists():
            (self.repository / "config").write_text("[core]\n\tbare = true\n")
        for arm, visits in self.visits.items():
            noted = [
                {"event": "forced", "at": 0.0, "due_in": [2.0, 4.0]},
                {"event": "window", "end": 60.0, "delay": 20},
            ]
            self._lines(f"fairness-{arm}/events.jsonl", noted)
            seen = [
                {"event": "request", "case": f"live-{number}", "t": moment}
                for number, moments in visits.items()
                for moment in moments
            ]
            self._lines(f"fairness-{arm}/world.jsonl", seen)
            self._json(f"fairness-{arm}/mirrors.json", self.dead if arm == "with" else [])
        verdict = judge(self.folder)
        return verdict.ok, verdict.line()

    def _text(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def _json(self, name: str, data: object) -> None:
        self._text(name, json.dumps(data))

    def _lines(self, name: str, lines: list[dict[str, Any]]) -> None:
        self._text(name, "".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    return Evidence(tmp_path)


def test_a_good_run_is_found_good(evidence):
    ok, line = evidence.judged()

    assert ok, line
    assert line == (
        "attack ok: cases=4 canary_hits=0 secrets_found=0 orphans=0 bomb_peak_mb=40 live_lateness_ratio=1.0"
    )


def fresh(e):
    e.rows[0] |= {"fresh": True, "outcome": "changed"}


def at_the_door(e):
    e.cases[0]["verdict"]["taken"] = True


def ref(name):
    def spoil(e):
        e.repository.mkdir(parents=True)
        (e.repository / "packed-refs").write_bytes(b"1" * 40 + b" " + name + b"\n")

    return spoil


def file(name, text=NEEDLE):
    return lambda e: e._text(name, text)


def fuzzed(normal):
    return lambda e: e.fuzz.append({"url": "?", "taken": True, "normal": normal, "again": normal})


def late(e):
    e.visits["with"] = {0: [2.5, 29.9], 1: [9.1, 44.9]}


def starved(e):
    e.visits["with"] = {0: [2.5, 22.9, 43.2], 1: [4.1]}


FAULTS: dict[str, tuple[Callable[[Evidence], object], str]] = {
    "a connection to the canary": (lambda e: e.world.append({"event": "canary", "at": PLACE}), "connected to 127"),
    "a deaf canary": (lambda e: e.world.pop(1), "is deaf"),
    "canaries never tried": (lambda e: e.world.pop(0), "never tried"),
    "a URL taken at the door": (at_the_door, "the door took"),
    "a blocked mirror that is fresh": (fresh, "is called fresh"),
    "the wrong outcome": (lambda e: e.rows[0]["attempts"][0].update(outcome="transient"), "ended as transient"),
    "a case that never ended": (lambda e: e.rows[0]["attempts"].clear(), "ended 0 times of 1"),
    "a mirror that is not listed": (lambda e: e.rows.pop(), "is not listed"),
    "no reason": (lambda e: e.rows[0].update(error=""), "without a reason"),
    "control characters": (lambda e: e.rows[0].update(error="\x1b[31mred"), "control characters"),
    "a very long reason": (lambda e: e.rows[0].update(error="x" * 1_001), "1001 characters"),
    "a password in a reason": (lambda e: e.rows[0].update(error=NEEDLE), "shows the password"),
    "a ref that leads out": (ref(b"refs/heads/../../x"), "packed-refs holds"),
    "a ref with an escape": (ref(b"refs/heads/\x1b"), "packed-refs holds"),
    "a hook": (lambda e: e._text("state/repositories/x.git/hooks/update", ""), "there are hooks"),
    "a URL in a configuration": (file("state/repositories/x.git/config", "url = x"), "configuration has url"),
    "the password in the log": (file("state/logs/imports.log", f"x {NEEDLE} y"), "found in state/logs"),
    "the password in the database": (file("state/db.sqlite3"), "found in state/db.sqlite3"),
    "the password in Redis": (file("redis-monitor.txt"), "found in redis-monitor.txt"),
    "the password on a page": (file("sinks/flower.txt"), "found in sinks/flower.txt"),
    "nobody listened to Redis": (file("redis-monitor.txt", ""), "nothing in redis-monitor.txt"),
    "the password in argv": (
        lambda e: e.proc.append({"event": "secret", "needle": NEEDLE, "where": "argv", "command": "git"}),
        "found in the argv of git",
    ),
    "a blind watcher": (lambda e: e.proc.pop(0), "did not see the decoy in argv"),
    "a watcher that slept": (lambda e: e.proc[-1].update(looks=3), "did not watch"),
    "the password at another name": (
        lambda e: e.world.append(e.request("stolen", "other.example", f"Basic {NEEDLE}")), "request to other.example",
    ),
    "the password at another case": (
        lambda e: e.world.append(e.request("secret-not-for-you", "x.secret.hub.example", NEEDLE)),
        "request to x.secret",
    ),
    "a password that nobody used": (lambda e: e.world.pop(), "reached nobody"),
    "an orphan": (lambda e: e.events.append({"event": "left_behind", "command": "git fetch"}), "still running"),
    "a bomb that took memory": (lambda e: e.proc.append(e.memory(100)), "the bomb took 100 MB"),
    "a server that took memory": (lambda e: e.proc.append(e.memory(1_300, "git ls-remote")), "git took 1300 MB"),
    "a bomb that nobody took": (lambda e: e.proc.pop(2), "no git process was seen to take the bomb"),
    "late beside the dead": (late, "times as late"),
    "starved beside the dead": (starved, "times as late"),
    "never visited": (lambda e: e.visits["with"].pop(1), "1 of 2 live mirrors were visited"),
    "a dead host that was alive": (lambda e: e.dead[0].update(fresh=True), "was alive"),
    "a dead host that nobody tried": (lambda e: e.dead[0]["attempts"].clear(), "nobody ever tried"),
    "fuzz: an inner address": (fuzzed("http://10.0.0.1/x"), "not public"),
    "fuzz: a mapped address": (fuzzed("http://[::ffff:127.0.0.1]/x"), "not public"),
    "fuzz: a number": (fuzzed("http://0x7f.1/x"), "is a number"),
    "fuzz: localhost": (fuzzed("http://a.localhost/x"), "this machine"),
    "fuzz: a user": (fuzzed("http://u@a.example/x"), "names a user"),
    "fuzz: an option": (fuzzed("ssh://-oProxyCommand=x@a.example/x"), "names a user"),
    "fuzz: a scheme": (fuzzed("file://a.example/x"), "another scheme"),
    "fuzz: a small port": (fuzzed("http://a.example:25/x"), "port 25"),
    "fuzz: a back-slash": (fuzzed("http://a.example\\@10.0.0.1/x"), "other characters"),
    "fuzz: another host in Python": (fuzzed("http://a.example:8080:8081/x"), "another host"),
    "fuzz: not the same again": (lambda e: e.fuzz[1].update(again="http://b.example/x"), "taken again"),
    "fuzz: nothing taken": (lambda e: e.fuzz.pop(), "took none"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault, evidence):
    spoil, wanted = FAULTS[fault]
    spoil(evidence)

    ok, line = evidence.judged()

    assert not ok
    assert line.startswith("attack FAILED: ")
    assert re.search(re.escape(wanted), line), line
