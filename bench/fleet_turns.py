"""A fleet in a process and a database of its own, which takes one turn for each line that it is sent.

`python -m bench.fleet_turns MIRRORS BURST LIMIT SEED`; lines: `claim` or `run`; answers {"done": ..., "seconds": ...}.
"""

import json
import sys
import time

from bench.harness import fleet
from bench.harness.lab import lab
from bench.scheduler_run import Stage, once, prepare


def main(mirrors: int, burst: int, limit: int, seed: int) -> None:
    """Make the fleet, say so, and take turns until standard input ends."""
    with lab("postgresql" if mirrors >= SMALL else "sqlite") as place:
        stage = prepare(place, jobs=limit)
        made = fleet.make(mirrors, now=stage.now, seed=seed)
        if burst:
            made.burst(burst)
        fleet.tidy()
        _say(ready=True)
        for line in sys.stdin:
            _say(**TURNS[line.strip()](stage))


def claim(stage: Stage) -> dict[str, float]:
    """Claim, as the dispatcher does: each turn other rows."""
    from bench.claim import product_claim

    stage.rest()
    began = time.perf_counter()
    claimed = product_claim(stage.jobs, stage.now)
    seconds = time.perf_counter() - began
    return {"done": len({claim.mirror_id for claim in claimed}), "seconds": seconds}


def run(stage: Stage) -> dict[str, float]:
    """Run the scheduler once."""
    stage.reset()
    work = once(stage.place)
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    stage.check()
    return {"done": stage.jobs, "seconds": seconds}


SMALL = 1_000
TURNS = {"claim": claim, "run": run}


def _say(**answer: object) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:5]))
