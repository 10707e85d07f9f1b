"""Judge a run of the chaos from what it left behind, without asking the product.

    python -m tests.verify.chaos FOLDER

The folder holds plan.json, events.jsonl (what the harness did), states.json and end.json (what the upstreams
published), attempts.jsonl (the table), explain.jsonl (what the product said) and the logs of the instruments:
git.jsonl, pools.jsonl, rows.jsonl, refs.jsonl, locks.jsonl; naive.json has the figures of the naive arm. The result
is one line.
"""

import json
import sys
from pathlib import Path

from tests.verify import chaos_attention, chaos_refs, chaos_slots
from tests.verify.chaos_evidence import SUCCESSES, Evidence
from tests.verify.verdict import Verdict

MUST_BE_ZERO = ("lost", "stuck", "double_writers", "over_cap", "leaked_slots", "orphans", "torn_refs")


def judge(folder: Path) -> Verdict:
    """Return figures and problems."""
    evidence = Evidence(folder)
    waited = chaos_attention.waiting(evidence)
    details = {
        "lost": [f"mirror {mirror}" for mirror in sorted(chaos_attention.lost(evidence, waited))],
        "stuck": [f"mirror {mirror}" for mirror in sorted(chaos_attention.stuck(evidence))],
        "double_writers": chaos_refs.double_writers(evidence),
        "over_cap": chaos_slots.over_cap(evidence),
        "leaked_slots": sorted(chaos_slots.leaked(evidence)),
        "orphans": chaos_slots.orphans(evidence),
        "torn_refs": chaos_refs.torn(evidence),
    }
    figures: dict[str, int | float] = {
        **_work(evidence),
        **{name: len(details[name]) for name in MUST_BE_ZERO},
        **_recovery(evidence, waited),
        **_naive(evidence),
    }
    for name in MUST_BE_ZERO:
        if details[name]:
            evidence.problems.append(f"{name}={len(details[name])}: {details[name][0]}")
    evidence.problems.extend([*chaos_refs.stale(evidence)[:2], *chaos_attention.never_closed(evidence)[:2]])
    return Verdict("chaos", figures, evidence.problems, details)


def _work(evidence: Evidence) -> dict[str, int]:
    """Return how much was done and how hard it was hit; too little of either is a problem."""
    plan, done = evidence.plan, [each for each in evidence.attempts if each.outcome in SUCCESSES]
    kills = evidence.noted("kill")
    hits = sum(bool(chaos_attention.in_flight(evidence, kill)) for kill in kills)
    figures = {"kills": len(kills), "mirrors": len({each.mirror for each in done}), "imports": len(done)}
    for name, found, wanted in (
        ("kills", figures["kills"], plan["least_kills"]),
        ("kills that hit an import in flight", hits, plan["least_hits"]),
        ("mirrors", figures["mirrors"], plan["mirrors"]),
        ("imports", figures["imports"], plan["imports"]),
    ):
        if found < wanted:
            evidence.problems.append(
                f"only {found} {name}, at least {wanted} are wanted: the run was too gentle"
            )
    for event in evidence.noted("fault_failed"):
        evidence.problems.append(f"the harness could not do {event['kind']}: {event['error'][:100]}")
    return figures


def _recovery(evidence: Evidence, waited: chaos_attention.Waiting) -> dict[str, float]:
    """Return the longest recovery and its bound."""
    bound = chaos_attention.recovery_bound(evidence)
    what, worst = max(
        chaos_attention.recoveries(evidence, waited), key=lambda each: each[1], default=("nothing", 0.0)
    )
    if worst > bound:
        evidence.problems.append(f"recovery of {what} took {worst:.1f} s, more than {bound:.0f}")
    return {"worst_recovery_s": round(worst, 1), "recovery_bound_s": round(bound)}


def _naive(evidence: Evidence) -> dict[str, int]:
    """Return what the naive arm lost and leaked under the same seed; nothing would mean that we are too gentle."""
    try:
        told = json.loads((evidence.folder / "naive.json").read_text())
    except FileNotFoundError:
        evidence.problems.append("the naive arm did not run")
        return {"naive_lost": 0, "naive_leaked": 0}
    if not told["lost"] or not told["leaked"]:
        evidence.problems.append("the naive arm lost or leaked nothing: the harness is too gentle")
    return {"naive_lost": told["lost"], "naive_leaked": told["leaked"]}


def main(folder: Path) -> int:
    """Print the verdict with its details."""
    verdict = judge(folder)
    for name, lines in verdict.details.items():
        for line in lines[:20]:
            print(f"{name}: {line}")
    print(verdict.line())
    return 0 if verdict.ok else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
