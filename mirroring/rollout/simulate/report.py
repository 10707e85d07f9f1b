"""The report of a simulation: what is to be expected of the flag, for people and for programs."""

from statistics import fmean
from typing import Any

from mirroring.rollout.simulate.arms import Series, Simulation, per_mirror
from mirroring.rollout.simulate.log import PERIOD

SUMS = ("scheduled", "over_scheduled", "over_scheduled_counted", "bounced", "import_failures")
MEANS = ("queue_delay_seconds", "lag_seconds", "capacity_used")
TRAFFIC = ("redis_round_trips", "redis_round_trips_broker", "redis_round_trips_tracker", "redis_calls")


def summary(series: Series) -> dict[str, float]:
    """Return the figures of one position."""
    figures = {name: sum(values[name] for values in series) for name in SUMS}
    for name in MEANS:
        figures[name] = fmean([values[name] for values in series if name in values] or [0.0])
    figures["lag_seconds_max"] = max(values["lag_seconds"] for values in series)
    figures["slots_leaked"] = max(values["slots_leaked"] for values in series)
    for name in TRAFFIC:
        figures[name] = sum(values[name] for values in series) * PERIOD
        figures[f"{name}_per_mirror"] = per_mirror(name, series)
    figures["redis_calls_peak"] = max(values["redis_calls"] for values in series)
    return {name: round(value, 3) for name, value in figures.items()}


def as_json(simulation: Simulation) -> dict[str, Any]:
    """Return the report for programs."""
    off, on = summary(simulation.off), summary(simulation.on)
    load = simulation.load
    return {
        "flag": simulation.flag,
        "arm": simulation.arm,
        "load": {
            "mirrors": load.mirrors,
            "capacity": load.capacity,
            "seconds": load.seconds,
            "seed": load.seed,
        },
        "off": off,
        "on": on,
        "difference": {name: round(on[name] - off[name], 3) for name in off},
        "guards": [
            {"guard": str(each.guard), "verdict": str(each.verdict), "why": each.why}
            for each in simulation.judgements
        ],
        "ok": not simulation.bad,
    }


def as_text(simulation: Simulation) -> str:
    """Return the report for people: a line for each figure, then what the guards say."""
    off, on = summary(simulation.off), summary(simulation.on)
    load = simulation.load
    fleet = f"{load.mirrors} mirrors, capacity {load.capacity}, {load.seconds} simulated seconds"
    lines = [
        f"{simulation.flag}, arm {simulation.arm}: {fleet}",
        f"{'':34}{'off':>12}{'on':>12}{'difference':>12}",
    ]
    lines += [f"{name:34}{off[name]:12.2f}{on[name]:12.2f}{on[name] - off[name]:+12.2f}" for name in off]
    lines += [f"{each.verdict:12} {each.guard.metric}: {each.why}" for each in simulation.judgements]
    against = ", ".join(sorted({each.guard.metric for each in simulation.bad}))
    lines.append(f"simulate FLAGGED: {against}" if against else "simulate ok: nothing speaks against it")
    return "\n".join(lines)
