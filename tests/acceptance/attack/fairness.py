"""Two runs that differ in one thing: beside the live mirrors there are, or are not, those of a dead host."""

import json
import time
from pathlib import Path
from random import Random

from tests.acceptance.attack import network, world
from tests.acceptance.attack.plan import Plan
from tests.acceptance.attack.target import Target
from tests.acceptance.journal import Journal
from tests.lab.hostile import HostileServer, serve

LIVE_HOSTS = 5
DELAY_SECONDS = 20


def run(plan: Plan, folder: Path, *, arm: str, repositories: list[Path]) -> None:
    """Run one arm; leave what the live server saw, and when it was to be seen first, in `fairness-<arm>/`."""
    place = folder / f"fairness-{arm}"
    place.mkdir()
    journal, seen = Journal(place / "events.jsonl"), Journal(place / "world.jsonl")
    deeds = {f"live-{n}": serve(repositories[n % len(repositories)]) for n in range(plan.live)}
    servers = HostileServer(deeds, addresses=[(network.LIVE, 80)], note=seen.note)
    print(f"fairness, {arm} the dead host: {plan.live_seconds} s", flush=True)
    # The server outlives the stack, so that no import ends because of us.
    with (
        world.dns(seen.note),
        servers,
        world.black_hole(network.DEAD, 80),
        Target(place, plan, journal) as target,
    ):
        target.configure(
            mirror_min_delay_seconds=DELAY_SECONDS, mirror_max_delay_seconds=DELAY_SECONDS, mirror_jitter_seconds=0,
            mirror_max_retry=1_000, mirror_max_capacity=plan.cap, tick_seconds=1, repair_tick_seconds=2,
            lease_seconds=15, fetch_timeout_seconds=20,
        )  # fmt: skip
        target.flags_on()
        dead = (
            [_row("dead", n, host="dead.example", due_in=0.0) for n in range(plan.dead)]
            if arm == "with"
            else []
        )
        rng = Random(f"fairness/{plan.seed}")
        first = [rng.uniform(2.0, DELAY_SECONDS) for _ in range(plan.live)]
        live = [
            _row("live", n, host=f"h{n % LIVE_HOSTS}.live.example", due_in=due) for n, due in enumerate(first)
        ]
        # Due from when the rows are there: to write them takes longer beside other work, and is not the product's.
        forced = target.inside("force", dead + live)["at"]
        journal.note("forced", f"{len(dead)} dead and {len(live)} live mirrors", at=forced, due_in=first)
        while time.monotonic() < forced + plan.live_seconds:
            time.sleep(0.2)
        journal.note("window", end=time.monotonic(), delay=DELAY_SECONDS)
        (place / "mirrors.json").write_text(json.dumps(target.inside("rows", []), default=str))
    seen.close()
    journal.close()


def _row(kind: str, number: int, *, host: str, due_in: float) -> dict[str, object]:
    url = f"http://{host}/{kind}-{number}/x.git"
    return {"group": kind, "name": f"m{number}", "url": url, "host": host, "due_in": due_in}
