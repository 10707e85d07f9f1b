"""What the three instruments say: wrapper round git, upstream server, tracker."""

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.verify.concurrency import (
    Event,
    Interval,
    git_dir_of,
    import_repository,
    intervals,
    measure,
    read_events,
)

INDEXED_WITHIN = 5.0
"""Seconds from the request of a pack in process to the git that indexes it."""


def concurrency(
    folder: Path,
    plan: dict[str, Any],
    problems: list[str],
    *,
    mirrors: dict[str, str],
    checked_since: float = math.inf,
) -> dict[str, int | float]:
    """Return peak, cap and over_cap by all three instruments; complain about what they find or fail to see.

    `mirrors` gives the name of a mirror by the path of its repository. From `checked_since` on upstreams may be asked
    what they list without a slot; to fetch takes one, then as before.
    """
    cap = int(plan["cap"])
    commands, requests = read_events(folder / "git.jsonl"), read_events(folder / "upstream.jsonl")
    imports = list(_without_checks(requests, since=checked_since))

    def mirror_name(event: Event) -> str:
        path = import_repository(event)
        return mirrors.get(path, path)

    by_git = measure(commands, cap=cap, repository_of=mirror_name)
    by_server = measure(imports, cap=cap, repository_of=_served)
    slots = [event["slots"] for event in read_events(folder / "samples.jsonl") if "slots" in event]
    over = {
        "git processes": by_git.over_cap,
        "upstream requests": by_server.over_cap,
        "tracker slots": sum(number > cap for number in slots),
    }
    peaks = {
        "git processes": by_git.peak,
        "upstream requests": by_server.peak,
        "tracker slots": max(slots, default=0),
    }
    for instrument, moments in over.items():
        if moments:
            problems.append(
                f"{moments} moments above the cap of {cap} by {instrument} (peak {peaks[instrument]})"
            )
    for instrument, peak in peaks.items():
        if plan["reach_cap"] and peak < cap:
            problems.append(f"the cap of {cap} was never reached by {instrument} (peak {peak})")
    problems += _unseen(plan, mirrors, by_git.repositories, by_server.repositories)
    problems += _unrecorded(plan, commands, requests, mirror_name)
    problems += _two_at_once(commands)
    return {"peak": max(peaks.values()), "cap": cap, "over_cap": sum(over.values())}


def disagreement(folder: Path, position: Event, *, workers: Iterable[str]) -> str:
    """Return how the flags that command line and workers reported differ from those that were set.

    `workers` are the names (before the @) of which at least one process must have reported.
    """
    wanted = list(position["flags"])
    if position["reported"] != wanted:
        return f"the command line reported {position['reported']}"
    heard: set[str] = set()
    for sample in read_events(folder / "samples.jsonl"):
        if position["settled"] <= sample["t"] <= position["until"] and "flags" in sample:
            for worker, flags in sample["flags"].items():
                heard.add(worker.partition("@")[0])
                if flags != wanted:
                    late = sample["t"] - position["since"]
                    return f"worker {worker} still saw {flags} {late:.1f} s after the flip"
    silent = sorted(set(workers) - heard)
    return f"no {silent[0]} worker reported the flags it saw" if silent else ""


def questions_without_git(folder: Path, *, since: float, until: float, mirrors: dict[str, str]) -> int:
    """Count the times that an upstream was asked what it lists while no git process ran for any mirror of it."""
    requests = read_events(folder / "upstream.jsonl")
    running = list(intervals(read_events(folder / "git.jsonl"), repository_of=import_repository))
    return sum(
        not _covered(
            event["t"], [each for each in running if each.repository == mirrors.get(event["repository"])]
        )
        for event in requests
        if event["event"] == "start" and event["kind"] == "ls-refs" and since <= event["t"] <= until
    )


def _without_checks(requests: list[Event], *, since: float) -> Iterator[Event]:
    for event in requests:
        if event["event"] == "end" or event["t"] < since or event["kind"] == "fetch":
            yield event


def _served(event: Event) -> str:
    return str(event["repository"])


def _unseen(
    plan: dict[str, Any], mirrors: dict[str, str], by_git: frozenset[str], by_server: frozenset[str]
) -> list[str]:
    """Name mirrors of which an instrument saw nothing at all: then the instrument was not in place."""
    served = plan["served"]
    names = sorted(mirrors.values())
    blind = [f"{name}: no git process was recorded" for name in names if name not in by_git]
    return blind + [
        f"{name}: no request reached the upstream server"
        for name in names
        if name in served and served[name] not in by_server
    ]


def _unrecorded(
    plan: dict[str, Any], commands: list[Event], requests: list[Event], mirror_name: Callable[[Event], str]
) -> list[str]:
    """Find fetches that the upstream server answered while no git process of that mirror was recorded."""
    running: dict[str, list[Interval]] = {}
    for interval in intervals(commands, repository_of=mirror_name):
        running.setdefault(interval.repository, []).append(interval)
    names = {server: name for name, server in plan["served"].items()}
    # A pack that the product asked for in process is indexed by a git of its own right after.
    for command in commands:
        if command["event"] == "start" and "index-pack" in command.get("argv", ()):
            asked = Interval(mirror_name(command), command["t"] - INDEXED_WITHIN, command["t"])
            running.setdefault(asked.repository, []).append(asked)
    missed = [
        event
        for event in requests
        if event["event"] == "start"
        and event["kind"] == "fetch"
        and not _covered(event["t"], running.get(names.get(event["repository"], ""), []))
    ]
    return [f"{len(missed)} fetches were served to git processes that nobody recorded"] if missed else []


def _covered(moment: float, running: list[Interval]) -> bool:
    # Both instruments read one monotonic clock, the recorder before git runs and after it is dead.
    return any(each.start <= moment <= each.end for each in running)


def _two_at_once(commands: list[Event]) -> list[str]:
    """Find mirrors into which two staging folders were written at the same time."""
    at_work: dict[int, tuple[str, str]] = {}
    found: set[str] = set()
    for event in commands:
        if event["event"] == "end":
            at_work.pop(event["id"], None)
        elif (mirror := import_repository(event)) and (folder := _staging(event)):
            if any(other == mirror and theirs != folder for other, theirs in at_work.values()):
                found.add(mirror)
            at_work[event["id"]] = (mirror, folder)
    return [f"two imports at once into {mirror}" for mirror in sorted(found)]


def _staging(event: Event) -> str:
    path = git_dir_of(event)
    return path if path != import_repository(event) else ""
