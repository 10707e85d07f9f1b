"""`make chaos`, by SEED, CHAOS_MIRRORS, CHAOS_SECONDS, CHAOS_CHECKS, DATABASE; CHAOS_FOLDER keeps the evidence."""

import os
import shutil
import sys
from functools import partial

from tests.acceptance.chaos.plan import make_folder, read_plan
from tests.acceptance.chaos.run import run
from tests.acceptance.plan import Failed
from tests.acceptance.processes import check_tools
from tests.acceptance.told import run_and_judge
from tests.verify.chaos import judge


def main() -> int:
    """Run, judge, and print one line."""
    try:
        plan = read_plan(os.environ)
        check_tools()
    except Failed as error:
        print(f"chaos FAILED: {error}")
        return 1
    folder = make_folder(plan)
    remove = None if plan.folder else partial(shutil.rmtree, ignore_errors=True)
    return run_and_judge("chaos", folder, run=partial(run, plan, folder), judge=judge, remove=remove)


if __name__ == "__main__":
    sys.exit(main())
