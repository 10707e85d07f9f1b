"""The attack itself, step by step: the door, the mirrors behind it, what is left of secrets, and the fairness."""

import base64
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import redis

from tests.acceptance.attack import fairness, fuzz, world
from tests.acceptance.attack.cases import FAILED, FINE, Case, dns_cases, url_cases
from tests.acceptance.attack.plan import Plan
from tests.acceptance.attack.scene import Scene
from tests.acceptance.attack.secured import Secured
from tests.acceptance.attack.target import Target
from tests.acceptance.journal import Journal
from tests.acceptance.plan import Failed

GROUP = "attack"
USER = "canary-user"
SETTINGS = {
    "mirror_max_delay_seconds": 86_400,
    "mirror_min_delay_seconds": 43_200,
    "mirror_jitter_seconds": 0,
    "mirror_max_retry": 1_000,
    "lease_seconds": 15,
    "tick_seconds": 1,
    "repair_tick_seconds": 2,
    "fetch_timeout_seconds": 120,
    "idle_timeout_seconds": 10,
}


def run(plan: Plan, folder: Path, journal: Journal) -> None:
    """Do everything but the judging; leave the evidence in the folder, and nothing running."""
    secret = f"canary-{Random(f'secret/{plan.seed}').getrandbits(96):024x}"
    decoy = secret.replace("canary", "decoy")
    known = {"only": sorted(plan.only), "user": USER, "needles": needles_of(secret), "decoy": decoy}
    _write(folder / "plan.json", vars(plan) | known)
    journal.note("making", "making the upstream repositories")
    made = world.make_repositories(folder / "upstreams", plan)
    scene = Scene(good=made.good, many=made.many, bomb=made.bomb)
    secured = Secured(folder / "secured", good=made.good) if plan.runs("ssh") or plan.runs("tls") else None
    cases = [each for each in _cases(plan, scene, secured, good=made.good) if plan.runs(each.group)]
    if cases:
        with world.watched(folder, needles=needles_of(secret), decoy=decoy):
            _attack(plan, folder, journal, cases=cases, scene=scene, secured=secured, secret=secret)
    if plan.runs("fairness"):
        for arm in ("without", "with"):
            fairness.run(plan, folder, arm=arm, repositories=made.live)


def needles_of(secret: str) -> list[str]:
    """Return the forms in which a password may be found somewhere."""
    pair = base64.b64encode(f"{USER}:{secret}".encode()).decode().rstrip("=")
    return [secret, pair, base64.b64encode(secret.encode()).decode().rstrip("=")]


def _cases(plan: Plan, scene: Scene, secured: Secured | None, *, good: Path) -> Iterator[Case]:
    yield from url_cases()
    yield from dns_cases({name: kind for name, (kind, _) in world.TREACHEROUS.items()}, good=good)
    yield from scene.cases
    yield from secured.cases if secured else ()
    taken = Random(f"contacts/{plan.seed}").sample(list(fuzz.urls(plan.seed, plan.fuzz)), plan.fuzz_contacts)
    for number, url in enumerate(taken):
        yield Case(f"fuzz/{number:03}", url, FAILED | FINE)


def _attack(
    plan: Plan,
    folder: Path,
    journal: Journal,
    *,
    cases: list[Case],
    scene: Scene,
    secured: Secured | None,
    secret: str,
) -> None:
    seen = Journal(folder / "world.jsonl")
    with ExitStack() as running:
        running.callback(seen.close)
        running.enter_context(world.servers(scene, seen.note))
        if secured:
            running.enter_context(secured.serving(seen.note))
        journal.note("starting", f"starting the stack; {len(cases)} cases")
        target = running.enter_context(Target(folder, plan, journal))
        running.enter_context(_redis_overheard(target.redis_url, folder / "redis-monitor.txt"))
        target.configure(**SETTINGS, mirror_max_capacity=plan.cap)
        target.flags_on()
        if plan.runs("secret"):
            _credential(target, secret, journal)
        if secured:
            target.inside("equip", {"hosts": secured.hosts, "credentials": secured.credentials})
        _ask_the_door(plan, folder, target, cases)
        journal.note("door", "the door has been asked; the mirrors are forced past it")
        rows = _let_loose(folder, target, cases)
        _write(folder / "mirrors.json", rows)
        _keep_sinks(folder, target, rows)
    _write(folder / "sockets.json", sorted(str(place) for place in (folder / "state").rglob("*.sock")))


def _credential(target: Target, secret: str, journal: Journal) -> None:
    """Keep the secret for the hub, given on standard input."""
    kept = target.secretly(
        ["credential", "add", "password", "canary", "--user", USER, "--allow-http", "--host",
         "basic.secret.hub.example", "--host", "redirected.secret.hub.example"], secret)  # fmt: skip
    journal.note("credential", "a credential is kept", kept=kept)


def _ask_the_door(plan: Plan, folder: Path, target: Target, cases: list[Case]) -> None:
    """Have the product judge every URL of the cases, and the fuzzed ones."""
    urls = [case.url for case in cases]
    verdicts = target.inside("judge", urls)
    with (folder / "cases.jsonl").open("w", encoding="utf-8") as file:
        for case, verdict in zip(cases, verdicts, strict=True):
            line = vars(case) | {"ends": sorted(case.ends), "tags": sorted(case.tags), "verdict": verdict}
            file.write(json.dumps(line) + "\n")
    if plan.runs("fuzz"):
        with (folder / "fuzz.jsonl").open("w", encoding="utf-8") as file:
            for verdict in target.inside("judge", list(fuzz.urls(plan.seed, plan.fuzz))):
                file.write(json.dumps(verdict) + "\n")


def _let_loose(folder: Path, target: Target, cases: list[Case]) -> list[dict[str, Any]]:
    names = {f"{GROUP}/{_name(case)}": case for case in cases}
    forced = [
        {
            "group": GROUP,
            "name": _name(case),
            # The column is no longer than this; what a database cannot hold, nobody can force into it.
            "url": case.url[:2_000].replace("\0", ""),
            "host": f"{_name(case)}.host",
            "credential": case.credential,
        }
        for case in cases
    ]
    made = target.inside("force", forced)["mirrors"]
    _write(folder / "map.json", {row["name"]: row["repository"] for row in made})
    rounds = {name: case.rounds for name, case in names.items()}
    return target.wait_for_ends(list(names), rounds=rounds, seconds=420)


def _name(case: Case) -> str:
    return case.name.replace("/", "-")


@contextmanager
def _redis_overheard(url: str, file: Path) -> Iterator[None]:
    """Write down every command that Redis is sent while the block runs: task messages and all."""
    client = redis.Redis.from_url(url)
    stopping = threading.Event()

    def listen() -> None:
        with (
            file.open("w", encoding="utf-8", errors="replace") as out,
            suppress(redis.RedisError, ValueError),
            client.monitor() as monitor,
        ):
            while not stopping.is_set():
                out.write(f"{monitor.next_command()['command']}\n")

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        with suppress(redis.RedisError):
            redis.Redis.from_url(url).ping()
        thread.join(5)
        client.close()


def _keep_sinks(folder: Path, target: Target, rows: list[dict[str, Any]]) -> None:
    """Keep what people and tools are shown, for the verifier to search."""
    sinks = folder / "sinks"
    sinks.mkdir()
    _write(sinks / "rows.json", rows)
    for words in (
        ("mirror", "list"),
        ("credential", "list"),
        ("feature", "list"),
        ("mirror", "explain", "--all"),
    ):
        with suppress(Failed):
            _write(sinks / f"{'-'.join(words)}.json", target.stack.cli(*words))
    (sinks / "metrics.txt").write_text(target.stack.get("/metrics"))
    flower = f"http://127.0.0.1:{target.stack.environment['FLOWER_PORT']}"
    password = (folder / "state" / "flower_password").read_text().strip()
    for page in ("/workers", "/tasks", "/api/tasks?limit=1000", "/api/workers", "/broker"):
        (sinks / f"flower{quote(page, safe='')}.txt").write_text(_page(flower + page, password=password))
    (sinks / "redis.txt").write_text("\n".join(_everything(redis.Redis.from_url(target.redis_url))))


def _page(url: str, *, password: str) -> str:
    pair = base64.b64encode(f"admin:{password}".encode()).decode()
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {pair}"})
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            return str(answer.read().decode(errors="replace"))
    except (urllib.error.URLError, OSError) as error:
        return f"no answer: {error}"


def _everything(client: Any) -> Iterator[str]:
    """Yield every key of a Redis with its value, whatever its kind."""
    readers = {
        b"string": client.get, b"hash": client.hgetall, b"set": client.smembers,
        b"list": lambda key: client.lrange(key, 0, -1), b"zset": lambda key: client.zrange(key, 0, -1),
    }  # fmt: skip
    for key in client.scan_iter():
        reader = readers.get(client.type(key))
        yield f"{key!r} {reader(key) if reader else client.dump(key)!r}"


def _write(path: Path, data: object) -> None:
    path.write_text(json.dumps(data, indent=1, default=str), encoding="utf-8")
