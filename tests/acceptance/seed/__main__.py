"""`make seed-walk`, by SEED, SEED_MIRRORS, SEED_SECONDS and DATABASE_URL; in SEED_FOLDER the evidence is kept."""

import os
import sys
from functools import partial

from tests.acceptance.plan import Failed
from tests.acceptance.processes import check_tools
from tests.acceptance.seed.plan import make_folder, read_plan, remove
from tests.acceptance.seed.walk import run
from tests.acceptance.told import run_and_judge
from tests.verify.seed.judge import judge


def main() -> int:
    """Walk, judge, and print one line."""
    try:
        plan = read_plan(os.environ)
        check_tools()
        folder = make_folder(plan)
    except Failed as error:
        print(f"seed FAILED: {error}")
        return 1
    unwanted = None if plan.folder else remove
    return run_and_judge("seed", folder, run=partial(run, plan, folder), judge=judge, remove=unwanted)


if __name__ == "__main__":
    sys.exit(main())
