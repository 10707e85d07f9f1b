"""`make attack`, by SEED, ATTACK_REFS, ATTACK_DEAD, ATTACK_SECONDS and others: see tests/acceptance/attack/plan.py.

Everything that an upstream, its DNS and whoever may add mirrors can do to us is done to the real stack, on a network of
its own. tests/verify/attack.py, which shares no code with the product, judges what was left; the last line is its
verdict. ATTACK_CHECKS=1 turns checks before imports on, so that our own client of the protocol meets the same cases;
ATTACK_FOLDER keeps the evidence; ATTACK_ONLY names groups of cases (url dns answer redirect protocol refs
bomb secret ssh tls fuzz fairness).
"""

import os
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

from tests.acceptance.attack import network
from tests.acceptance.attack.plan import read_plan
from tests.acceptance.attack.run import run
from tests.acceptance.plan import Failed
from tests.acceptance.processes import check_tools
from tests.acceptance.told import run_and_judge
from tests.verify.attack import judge


def main() -> int:
    """Run, judge, and print one line."""
    try:
        plan = read_plan(os.environ)
        check_tools()
        network.enter()
    except Failed as error:
        print(f"attack FAILED: {error}")
        return 1
    folder = plan.folder or Path(tempfile.mkdtemp(prefix="mirroring-attack-"))
    folder.mkdir(parents=True, exist_ok=True)
    remove = None if plan.folder else partial(shutil.rmtree, ignore_errors=True)
    return run_and_judge("attack", folder, run=partial(run, plan, folder), judge=judge, remove=remove)


if __name__ == "__main__":
    sys.exit(main())
