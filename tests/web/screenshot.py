"""Make docs/images/admin.png: `python -m tests.web.screenshot`. It needs Chromium and touches no state of yours."""

import argparse
import os
import sys
from pathlib import Path

from tests.servers import run
from tests.web import browser
from tests.web.server import ROOT, serve

SEED = 184  # The first rows of the list show most of what a mirror can be.
SIZE = {"width": 1440, "height": 900}
PASSWORD = "for this picture only"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "images" / "admin.png")
    parser.add_argument("--page", default="/admin/mirroring/mirror/", help="which page of the admin")
    options = parser.parse_args()
    if browser.find() is None:
        sys.exit(
            "Chromium is missing: install it, on Debian with `apt-get install chromium fonts-dejavu-core`"
        )
    own = run.begin()
    try:
        run.enter(own, database_url=None)
        _fill()
        _shoot(own.folder, options.page, options.to)
    finally:
        own.stop()
    print(f"{options.to}: {options.to.stat().st_size // 1024} kB")


def _fill() -> None:
    import django

    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command

    from mirroring.flags.changes import set_flag
    from mirroring.tracker.connection import connect
    from tests.web import sample

    call_command("migrate", verbosity=0)
    User.objects.create_superuser("operator", password=PASSWORD)
    for name, on in sample.FLAGS.items():
        set_flag(name, on=on, by="operator")
    now = connect().now()
    sample.occupy(connect(), sample.fill(140, now=now, seed=SEED), now=now)


def _shoot(folder: Path, page: str, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    with serve(os.environ, log=folder / "web.log") as server, browser.browser() as running:
        tab = running.new_page(viewport=SIZE)
        browser.sign_in(tab, server.url, user="operator", password=PASSWORD)
        tab.goto(server.url + page)
        tab.screenshot(path=str(to))


if __name__ == "__main__":
    main()
