"""Whether the cap held and no slot leaked: by Redis, by the rows, and by the git processes that really ran."""

import re
from collections import defaultdict

from tests.verify.chaos_evidence import IN_FLIGHT, Evidence
from tests.verify.concurrency import Event, git_dir_of, import_repository, read_events

LAG = 0.6
"""Seconds by which our samples of the capacity may be late."""

STAGED = re.compile(r"/([0-9a-f]{32})\.git/incoming/(\d+)")
BLIND = 1.0
"""After a gap of so many seconds between two samples nothing can be said of what happened in it."""

Token = tuple[int, int]


def token_of(text: str) -> Token:
    """Return mirror and epoch of a member of a pool."""
    mirror, _, epoch = text.partition(":")
    return int(mirror), int(epoch)


def over_cap(evidence: Evidence) -> list[str]:
    """Return a line for each admission above the capacity in force, by each of three instruments.

    Only growth counts: what was admitted under a higher cap may run to its end, and what a rebuild puts back was
    admitted before.
    """
    return [*_slots_over(evidence), *_rows_over(evidence), *_git_over(evidence)]


def _slots_over(evidence: Evidence) -> list[str]:
    found: list[str] = []
    seen: set[str] = set()
    before: Event | None = None
    for sample in evidence.pools:
        if sample.get("down"):
            before = None
            continue
        holders = set(sample["importing"])
        new = {
            token for token in holders - seen if before and not _was_in_flight(evidence, token, before["at"])
        }
        watched = before is not None and sample["at"] - before["at"] < BLIND
        if new and before and watched and len(holders) > len(set(before["importing"]) & holders):
            allowed = evidence.most_capacity(before["at"] - LAG, sample["at"] + LAG)
            if len(holders) > allowed:
                found.append(f"{len(holders)} slots in use under a cap of {allowed}, new: {sorted(new)[:3]}")
        seen |= holders
        before = sample
    return found


def _was_in_flight(evidence: Evidence, token: str, at: float) -> bool:
    """Tell whether the row of a slot stood beyond the door before: the slot is put back, whether or not we saw it."""
    mirror, epoch = token_of(token)
    state = evidence.state_at(mirror, at)
    return state is not None and state.epoch == epoch and state.status in IN_FLIGHT


def _rows_over(evidence: Evidence) -> list[str]:
    found: list[str] = []
    seen: set[Token] = set()
    lease = evidence.plan["lease"]
    for look in evidence.looks():
        flying = {
            (state.mirror, state.epoch)
            for state in look.states.values()
            if state.status in IN_FLIGHT and state.held(look.at)
        }
        new = flying - seen
        allowed = evidence.most_capacity(look.at - lease - LAG, look.at + LAG)
        if new and len(flying) > allowed:
            found.append(f"{len(flying)} rows in flight under a cap of {allowed}, new: {sorted(new)[:3]}")
        seen |= flying
    return found


def _git_over(evidence: Evidence) -> list[str]:
    """Count the repositories in which git was running at each start of a git process of a new import.

    A slot is taken at the door, and git starts at most a lease later: the highest cap of that time is what counts.
    """
    found: list[str] = []
    running: dict[int, str] = {}
    known: set[tuple[int, str]] = set()
    lease = evidence.plan["lease"]
    for event in read_events(evidence.folder / "git.jsonl"):
        if event["event"] == "end":
            running.pop(event["id"], None)
            continue
        repository = import_repository(event)
        staged = STAGED.search(git_dir_of(event))
        if not repository or not staged:
            continue
        running[event["id"]] = repository
        work = int(staged[2]), staged[1]
        if work not in known:
            known.add(work)
            count = len(set(running.values()))
            allowed = evidence.most_capacity(event["wall"] - lease - LAG, event["wall"] + LAG)
            if count > allowed:
                found.append(f"git in {count} repositories under a cap of {allowed}")
    return found


def leaked(evidence: Evidence) -> set[str]:
    """Return the slots that were held for more than a lease although no row stood under their epoch."""
    bound, since, found = evidence.plan["lease"] + LAG, dict[str, float](), set[str]()
    for sample in evidence.pools:
        if sample.get("down"):
            continue
        holders = {*sample["importing"], *sample["processing"]}
        for token in since.keys() - holders:
            del since[token]
        for token in holders:
            mirror, epoch = token_of(token)
            state = evidence.state_at(mirror, sample["at"])
            if state is None or (state.epoch == epoch and state.expires is not None):
                since.pop(token, None)
            elif sample["at"] - since.setdefault(token, sample["at"]) > bound:
                found.add(token)
    return found


def orphans(evidence: Evidence) -> list[str]:
    """Return a line for each git process that ran on past the lease of its import, or was left at the end."""
    expiries: dict[Token, float] = defaultdict(float)
    for mirror, history in evidence.history_of.items():
        for _, state in history:
            expiries[mirror, state.epoch] = max(expiries[mirror, state.epoch], state.expires or 0.0)
    found = [f"left at the end: {event['command'][:120]}" for event in evidence.noted("left_behind")]
    started: dict[int, tuple[Event, Token]] = {}
    for event in read_events(evidence.folder / "git.jsonl"):
        if event["event"] == "start" and (staged := STAGED.search(git_dir_of(event))):
            started[event["id"]] = event, (evidence.mirror_of.get(staged[1], 0), int(staged[2]))
        elif event["event"] == "end" and event["id"] in started:
            start, token = started.pop(event["id"])
            lasted_past = event["wall"] - max(expiries[token], start["wall"])
            if lasted_past > LAG and (expiries[token] or lasted_past > evidence.plan["lease"]):
                found.append(
                    f"git of mirror {token[0]}, epoch {token[1]} ran {lasted_past:.1f} s past its lease"
                )
    return found + [f"git of mirror {token[0]} never ended" for _, token in started.values()]
