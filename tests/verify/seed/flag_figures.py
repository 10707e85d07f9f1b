"""What became of the flags: refused, promoted, rolled back, seen by every process, and gone."""

import bisect
from typing import Any

from tests.verify.seed.evidence import ENVIRONMENTS, FIRST, FLAGS, SECOND, Walk, as_json

SLOWEST_ROLLBACK_SECONDS = 5.0
SLOWEST_PROPAGATION_MS = 5000
HUMAN_ITEMS = 10
CHANNELS = 3


def refused(walk: Walk) -> int:
    """Count the attempts to turn the second flag on first that were refused, and left no trace."""
    count = 0
    for event in walk.noted("out_of_order"):
        if event["ok"] or FIRST not in event["said"]:
            walk.complain(f"the second flag before the first was not refused for it: {event['said'][:120]}")
        elif any(event["flags"]):
            walk.complain("a refused change has turned a flag on")
        else:
            count += 1
    turned = {flag: _first_on(walk, flag) for flag in FLAGS}
    if not turned[FIRST] < turned[SECOND]:
        walk.complain("in production's audit the second flag is on before the first")
    return count


def _first_on(walk: Walk, flag: str) -> float:
    times = [row["at"] for row in walk.changes("production") if row["flag"] == flag and row["after"]["on"]]
    return min(times, default=float("inf"))


def rollouts(walk: Walk) -> list[dict[str, Any]]:
    """Return production's rollouts, the oldest first."""
    names = ("flag", "state", "started_at", "breach_at", "off_at", "ended_at", "judgements", "shadow")
    found = walk.rows("production", f"SELECT {', '.join(names)} FROM mirroring_rollout ORDER BY id")
    return [dict(zip(names, row, strict=True)) for row in found]


def promoted(walk: Walk) -> int:
    """Count the flags that a guarded rollout brought to its end, in order, each guard having been asked."""
    done: list[str] = []
    for each in rollouts(walk):
        if each["state"] != "done" or each["shadow"]:
            continue
        judged = as_json(each["judgements"])
        if not judged or any(one["verdict"] != "good" for one in judged):
            walk.complain(f"the rollout of {each['flag']} ended well without every guard being good")
        done.append(each["flag"])
    if done != list(FLAGS):
        walk.complain(f"promoted in production: {', '.join(done) or 'nothing'}; expected both flags in order")
    return len(set(done) & set(FLAGS))


def rolled_back(walk: Walk) -> tuple[int, float]:
    """Count the rollouts that the guards took back, and return how long that took at most.

    From the sample that broke a bound until the last live process had said in Redis that it sees the flag off.
    """
    taken_back = [each for each in rollouts(walk) if each["state"] == "rolled back"]
    worst = 0.0
    for each in taken_back:
        found = walk.rows("production", 'SELECT at, "values" FROM mirroring_metricsample')
        sample = min(found, key=lambda row: abs(row[0] - each["breach_at"]), default=[])
        worst = max(worst, _time_of_rollback(walk, each, sample))
    if worst > SLOWEST_ROLLBACK_SECONDS:
        walk.complain(f"the rollback took {worst:.1f} s, more than {SLOWEST_ROLLBACK_SECONDS:g}")
    return len(taken_back), round(worst, 2)


def _time_of_rollback(walk: Walk, rollout: dict[str, Any], sample: list[Any]) -> float:
    """Return the seconds from the breaching sample to the last process that said it sees the flag off."""
    flag = rollout["flag"]
    if not sample or abs(sample[0] - rollout["breach_at"]) > 0.01:
        walk.complain("the rollback names a breach that no sample stands behind")
        return float("inf")
    over = as_json(sample[1]).get("over_scheduled", 0)
    judged = as_json(rollout["judgements"])
    bad = [one["metric"] for one in judged if one["verdict"] == "bad"]
    if "over_scheduled" not in bad:
        walk.complain(
            f"the attempt was rolled back for {', '.join(bad) or 'nothing'}, not for over-scheduling"
        )
    off = [
        row["at"]
        for row in walk.changes("production")
        if row["flag"] == flag and not row["after"]["on"] and row["at"] >= rollout["breach_at"]
    ]
    if not off:
        walk.complain(f"no entry of the audit turns {flag} off after the breach (over_scheduled={over})")
        return float("inf")
    seen = _seen_by_all(walk, "attempt", flag=flag, on=False, since=off[0])
    return seen - rollout["breach_at"] if seen else float("inf")


def propagation_ms(walk: Walk) -> int:
    """Return the longest time from a change in production until every process had said that it sees it.

    Processes say it with their heartbeat, every two seconds, so this is what can be observed from outside; each reads
    the row itself whenever it asks.
    """
    worst = 0.0
    for part in ("attempt", "service"):
        recorded = walk.recorded(part)
        begin, end = (recorded[0]["t"], recorded[-1]["t"]) if recorded else (0.0, 0.0)
        changes = [row for row in walk.changes("production") if begin < row["at"] < end - 5]
        for row, after in zip(changes, [*changes[1:], None], strict=False):
            if row["before"]["on"] == row["after"]["on"]:
                continue
            if after and after["flag"] == row["flag"] and after["at"] - row["at"] < 3:
                continue  # Changed again before all had had a heartbeat.
            seen = _seen_by_all(walk, part, flag=row["flag"], on=row["after"]["on"], since=row["at"])
            if not seen:
                walk.complain(
                    f"not every process said that it saw {row['flag']} {'on' if row['after']['on'] else 'off'}"
                )
                continue
            worst = max(worst, seen - row["at"])
    if worst * 1000 > SLOWEST_PROPAGATION_MS:
        walk.complain(f"a change took {worst:.1f} s to be seen by every process")
    return round(worst * 1000)


def _seen_by_all(walk: Walk, part: str, *, flag: str, on: bool, since: float) -> float | None:
    """Return when the last of the processes that lived at a change had said that it sees it; None: one never did."""
    notes = [event for event in walk.recorded(part) if event["e"] == "note" and flag in event["flags"]]
    at = bisect.bisect_left([note["t"] for note in notes], since)
    alive = {note["worker"] for note in notes[:at] if note["t"] > since - 10}
    said: dict[str, float] = {}
    for note in notes[at:]:
        if note["flags"][flag] is on:
            said.setdefault(note["worker"], note["t"])
        elif note["worker"] in said:
            break
    if not alive or alive - said.keys():
        return None
    return max(said[worker] for worker in alive)


def deleted_from(walk: Walk) -> int:
    """Count the environments in whose database no row of either flag is left, and the audit says who deleted it."""
    count = 0
    for name in ENVIRONMENTS:
        left = [row[0] for row in walk.rows(name, "SELECT name FROM mirroring_flag") if row[0] in FLAGS]
        forgotten = {row["flag"] for row in walk.changes(name) if not row["after"]["set"]}
        if left or set(FLAGS) - forgotten:
            walk.complain(f"{name}: not deleted: {', '.join(left or set(FLAGS) - forgotten)}")
        else:
            count += 1
    return count


def audits(walk: Walk) -> None:
    """Complain where the chain of an audit has a gap."""
    for name in ENVIRONMENTS:
        previous = None
        for number, row in enumerate(walk.changes(name), start=1):
            if row["sequence"] != number or (previous is not None and row["previous"] != previous):
                walk.complain(f"{name}: the chain of the audit is broken at entry {row['sequence']}")
            previous = row["digest"]


def announcements(walk: Walk) -> None:
    """Complain unless three channels had been told of each flag, with the time, before it was on in production."""
    for flag in FLAGS:
        told = {
            post["channel"]
            for event in walk.noted("announced")
            for post in event["posted"]
            if event["wall"] < _first_on(walk, flag)
            and flag in post["text"]
            and event["expected"] in post["text"]
        }
        if len(told) != CHANNELS:
            walk.complain(f"{flag} was announced in {len(told)} of {CHANNELS} channels before it was on")


def human_items(walk: Walk) -> int:
    """Count the items of the checklist that a person ticked, by name and with evidence."""
    found = walk.rows("production", 'SELECT flag, item, "by", evidence FROM mirroring_plantick')
    ticked = {item for flag, item, by, evidence in found if flag == SECOND and by and evidence}
    if len(ticked) < HUMAN_ITEMS:
        walk.complain(f"only {len(ticked)} of {HUMAN_ITEMS} items that a person has to tick were ticked")
    return len(ticked)
