"""Whether refs changed only under the epoch in force, and readers saw published states only.

The instruments are in `watch/refs.py`, which says what they can and cannot see.
"""

import json
from collections import defaultdict

from tests.verify.chaos_evidence import Attempt, Evidence, State
from tests.verify.concurrency import Event, read_events

TOLERANCE = 0.25
"""Seconds by which the note of a change may come after the change."""


def double_writers(evidence: Evidence) -> list[str]:
    """Return a line for each change of refs under an epoch that was not in force.

    An epoch is in force from its claim until its import is settled, by itself or by repair. And no mirror may ever go
    back to an earlier state of its upstream, whoever it was that changed it.
    """
    events = read_events(evidence.folder / "refs.jsonl")
    found = [line for event in events if event["event"] == "publish" and (line := _wrong(evidence, event))]
    newest: dict[int, int] = defaultdict(lambda: -1)
    for event in events:
        if event["event"] in ("seen", "publish") and event["state"] is not None:
            if event["state"] < newest[event["mirror"]]:
                found.append(f"mirror {event['mirror']} went back to state {event['state']}")
            newest[event["mirror"]] = max(newest[event["mirror"]], event["state"])
    if any(event["event"] == "overflow" for event in events):
        evidence.problems.append("the kernel dropped events: changes of refs were not seen")
    return found


def _wrong(evidence: Evidence, event: Event) -> str:
    """Return what is wrong with a change, or nothing."""
    mirror, epoch, at = event["mirror"], event["epoch"], event["at"]
    history = evidence.attempts_of.get(mirror, [])
    if epoch is None:
        running = any(each.open_at(at) or each.open_at(at - TOLERANCE) for each in history)
        return "" if running else f"mirror {mirror} was changed by nobody"
    own = next((each for each in history if each.epoch == epoch), None)
    if own is None:
        return f"mirror {mirror} was changed under epoch {epoch}, of which there is no attempt"
    if _settled_before(own, at):
        return f"mirror {mirror} was changed under epoch {epoch}, which ended as {own.outcome} before"
    if any(each.epoch > epoch and each.started < at - TOLERANCE for each in history):
        return f"mirror {mirror} was changed under epoch {epoch} while a later import ran"
    row = State(*event["row"]) if event["row"] else None
    if row and row.epoch > epoch and (row.claimed or at) < at - TOLERANCE:
        return f"mirror {mirror} was changed under epoch {epoch} when {row.epoch} was in force"
    return ""


def _settled_before(attempt: Attempt, at: float) -> bool:
    """Tell whether an attempt was closed before a moment; the time that repair writes is that of its beginning."""
    return attempt.ended is not None and attempt.ended < at - 2 * TOLERANCE


def torn(evidence: Evidence) -> list[str]:
    """Return a line for each set of refs that was never published, and for a mirror that ended with old refs."""
    events = read_events(evidence.folder / "refs.jsonl")
    found = [
        f"mirror {event['mirror']} showed refs that its upstream never had (read by {event.get('by', 'event')})"
        for event in events
        if event["event"] == "torn" or (event["event"] == "publish" and event["state"] is None)
    ]
    reads = next((event for event in reversed(events) if event["event"] == "reads"), {})
    if not reads.get("file") or not reads.get("git"):
        evidence.problems.append("nobody read the refs while they changed")
    return found


def stale(evidence: Evidence) -> list[str]:
    """Return a line for each mirror that was imported after the last push and does not show it."""
    told = json.loads((evidence.folder / "end.json").read_text())
    last: dict[int, int] = {}
    for event in read_events(evidence.folder / "refs.jsonl"):
        if event["event"] in ("seen", "publish") and event["state"] is not None:
            last[event["mirror"]] = event["state"]
    quiet = evidence.phase("quiet")
    fresh = {
        each.mirror
        for each in evidence.attempts
        if each.started > quiet and each.outcome in ("changed", "unchanged")
    }
    return [
        f"mirror {each['id']} ended at state {last.get(each['id'])}, not {told['versions'][each['upstream']]}"
        for each in told["mirrors"]
        if each["id"] in fresh and last.get(each["id"]) != told["versions"][each["upstream"]]
    ]
