"""Make the environment of this checkout: `python3 scripts/setup.py [--tests]`.

This file can be read by every Python, so that an old one gets a sentence and not a traceback; the work is done
by environment.py beside it.
"""

import runpy
import sys

if sys.version_info < (3, 11):  # noqa: UP036  (the point of this file)
    sys.stderr.write(
        "This is Python %d.%d; 3.11 or newer is needed. "  # noqa: UP031
        "Install one, then type the same with it: make ... PYTHON=python3.11\n" % sys.version_info[:2]
    )
    sys.exit(1)

runpy.run_path(sys.path[0] + "/environment.py", run_name="__main__")
