"""What the person at the keyboard does besides commands: the admin's forms, and waiting for what must come."""

import re
import time
from collections.abc import Callable
from typing import Any

import requests

from tests.acceptance.plan import Failed
from tests.acceptance.seed.company import Walk
from tests.acceptance.seed.environments import Environment
from tests.acceptance.seed.plan import FIRST, SECOND
from tests.verify import git_facts
from tests.verify.seed import witness

TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


class Admin:
    """A person who is signed in to the admin of an environment and posts its forms."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._session = requests.Session()
        self._session.trust_env = False
        login = f"{environment.web}/admin/login/"
        password = (environment.state / "admin_password").read_text().strip()
        self._post(login, login, username="admin", password=password, next="/admin/")

    def _post(self, page: str, target: str, /, **fields: str) -> str:
        token = TOKEN.search(self._session.get(page, timeout=30).text)
        if token is None:
            raise Failed(f"{page} has no form")
        fields["csrfmiddlewaretoken"] = token[1]
        answer = self._session.post(target, data=fields, headers={"Referer": page}, timeout=30)
        if not answer.ok:
            raise Failed(f"{target} answered {answer.status_code}")
        return answer.text

    def turn(self, flag: str, *, on: bool) -> str:
        """Turn a flag on or off by its form; return the page that follows."""
        page = f"{self._environment.web}/admin/mirroring/flag/{flag}/"
        fields = {"to": "on" if on else "off", "why": "the walk looks at every position", "page": "1"}
        if on:
            fields["override"] = "all"
        text = self._post(page, f"{page}set/", **fields)
        self._environment.journal.note("form", environment=self._environment.name, flag=flag, on=on)
        return text


def wait_until(what: str, holds: Callable[[], Any], *, seconds: float, pause: float = 0.5) -> Any:
    """Wait until something is so; return what it returned."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not so after {seconds:.0f} s")
        time.sleep(pause)
    return found


def wait_for_refs(walk: Walk, name: str, wanted: list[str], *, seconds: float) -> None:
    """Wait until mirrors equal their upstreams, as git sees both."""
    upstreams = {each.name: str(each.path) for each in walk.upstreams}
    mirrors = walk.mirrors[name]

    def equal(each: str) -> bool:
        try:
            found = git_facts.read(mirrors[each])
        except git_facts.Unreadable:
            return False
        return not git_facts.differences(upstream=git_facts.read(upstreams[each]), mirror=found)

    pending = list(wanted)

    def all_equal() -> bool:
        pending[:] = [each for each in pending if not equal(each)]
        return not pending

    wait_until(f"mirrors of {name} equal their upstreams ({len(wanted)})", all_equal, seconds=seconds)


def look(walk: Walk, name: str, *, what: str, **more: object) -> None:
    """Keep what git and Flower say of an environment now."""
    environment = walk.environments[name]
    upstreams = {each.name: str(each.path) for each in walk.upstreams}
    pairs = {each: (upstreams[each], path) for each, path in walk.mirrors[name].items()}
    refs = walk.save(f"{what}-{name}-refs.json", witness.refs(pairs))
    password = environment.state / "flower_password"
    tasks = walk.save(f"{what}-{name}-tasks.json", witness.tasks(environment.flower, password_file=password))
    walk.journal.note(
        "look",
        f"{name}, {what}: refs and tasks kept",
        environment=name,
        what=what,
        refs=refs,
        tasks=tasks,
        **more,
    )  # type: ignore[arg-type]  # fields of an event


def flags(environment: Environment) -> tuple[bool, bool]:
    """Return both flags as the command line of an environment reports them."""
    values = {flag["name"]: bool(flag["value"]) for flag in environment.json("feature", "list")}
    return values[FIRST], values[SECOND]
