"""A real browser, without a screen: the system's Chromium."""

import contextlib
import os
import shutil
from collections.abc import Iterator

from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find() -> str | None:
    """Return the browser's path, or None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Run the browser as long as the block lasts."""
    # As root, as in a container, Chromium does not start with its sandbox; it sees our own pages only.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=find(), args=arguments)
        try:
            yield running
        finally:
            running.close()


def sign_in(page: Page, url: str, *, user: str, password: str) -> None:
    """Sign in to the admin as a person does."""
    page.goto(f"{url}/admin/")
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Overview").wait_for()
