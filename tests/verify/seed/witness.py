"""What is looked at while the walk goes on, and kept as it was seen: refs by git, tasks by Flower, builds by HTTP."""

import json
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.verify import git_facts

TIMEOUT = 15


def refs(pairs: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Return, by name, what git says of each upstream and of its mirror."""
    return {name: {"upstream": facts(pair[0]), "mirror": facts(pair[1])} for name, pair in pairs.items()}


def facts(repository: str) -> dict[str, Any]:
    """Return branches, tags, HEAD and whatever else is there."""
    found = git_facts.read(repository)
    return {"refs": found.refs, "head": found.head, "head_ref": found.head_ref}


def ask(url: str, *, user: str = "", password: str = "") -> Any:
    """Return a JSON answer, or None if there is none."""
    headers = {}
    if user:
        headers["Authorization"] = "Basic " + b64encode(f"{user}:{password}".encode()).decode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
            return json.loads(answer.read())
    except (urllib.error.URLError, OSError, ValueError):
        return None


def tasks(flower: str, *, password_file: Path) -> dict[str, Any]:
    """Return the tasks that Flower has seen, by id."""
    password = password_file.read_text().strip()
    found = ask(f"{flower}/api/tasks?limit=5000", user="admin", password=password)
    return found or {}


def revisions(urls: Mapping[str, str]) -> dict[str, str]:
    """Return the revision that each deployment says it runs; empty where it does not answer."""
    answers = {name: ask(f"{url}/-/version") or {} for name, url in urls.items()}
    return {name: str(answer.get("revision", "")) for name, answer in answers.items()}
