"""Judge a walk from what it left behind, without asking the product.

    python -m tests.verify.seed.judge FOLDER

The result is one line, `seed ok: ...` or `seed FAILED: ...`.
"""

import sys
from pathlib import Path

from tests.verify.seed import flag_figures, place_figures, redis_figures
from tests.verify.seed.evidence import Walk
from tests.verify.verdict import Verdict

EXPECTED = {
    "environments": 4,
    "flag_positions": 4,
    "refs_equal": 4,
    "promoted": 2,
    "refused": 1,
    "rolled_back": 1,
    "auto_deploy": "deployed,absent,unknown",
    "deleted_from": 4,
}


def judge(folder: Path) -> Verdict:
    """Work out every figure from the evidence."""
    walk = Walk(folder)
    if not walk.noted("over"):
        return Verdict("seed", {}, ["the walk did not come to its end"])
    positions, equal = place_figures.refs_and_tasks(walk)
    taken_back, seconds = flag_figures.rolled_back(walk)
    figures: dict[str, float | int | str] = {
        "environments": place_figures.environments(walk),
        "flag_positions": positions,
        "refs_equal": equal,
        "promoted": flag_figures.promoted(walk),
        "refused": flag_figures.refused(walk),
        "rolled_back": taken_back,
        "rollback_s": seconds,
        "propagation_ms": flag_figures.propagation_ms(walk),
        **redis_figures.figures(walk),
        "auto_deploy": place_figures.auto_deploy(walk),
        "cleanup_patch": "",
        "deleted_from": flag_figures.deleted_from(walk),
        "human_items": flag_figures.human_items(walk),
    }
    flag_figures.audits(walk)
    flag_figures.announcements(walk)
    for name, wanted in EXPECTED.items():
        if figures[name] != wanted:
            walk.complain(f"{name}={figures[name]}, expected {wanted}")
    if not walk.problems:  # Last, for it runs tests: a walk that has failed already does not wait for them.
        figures["cleanup_patch"] = place_figures.cleanup_patch(walk)
    return Verdict("seed", figures, walk.problems, {"redis": redis_figures.in_words(walk)})


def main() -> None:
    """Print the verdict on a folder."""
    verdict = judge(Path(sys.argv[1]))
    for detail in verdict.details.get("redis", ()):
        print(f"  {detail}")
    for problem in verdict.problems:
        print(f"  {problem}")
    print(verdict.line())
    raise SystemExit(0 if verdict.ok else 1)


if __name__ == "__main__":
    main()
