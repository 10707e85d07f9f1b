"""What a walk left behind, read without the product: events, what was seen, what Redis was asked, databases."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.verify.watch.rows import Tables

Event = dict[str, Any]
FIRST = "project_import_schedule_worker_job_tracker"
SECOND = "update_all_mirrors_job_tracker"
FLAGS = (FIRST, SECOND)
ENVIRONMENTS = ("dev", "staging", "canary", "production")


def read_lines(path: Path) -> list[Event]:
    """Return the events of a file; an unfinished last line is left out."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines() if line]


@dataclass
class Walk:
    """The evidence, and what is wrong with it."""

    folder: Path
    problems: list[str] = field(default_factory=list)

    def complain(self, text: str) -> None:
        """Note what is not as it should be."""
        self.problems.append(text)

    @cached_property
    def plan(self) -> dict[str, Any]:
        """What the walk set out to do."""
        plan: dict[str, Any] = json.loads((self.folder / "plan.json").read_text(encoding="utf-8"))
        return plan

    @cached_property
    def events(self) -> list[Event]:
        """What the walk did."""
        return read_lines(self.folder / "events.jsonl")

    def noted(self, name: str, **fields: object) -> list[Event]:
        """Return the events of one name that have these fields."""
        return [
            event
            for event in self.events
            if event["event"] == name and all(event.get(key) == value for key, value in fields.items())
        ]

    def seen(self, name: str) -> Any:
        """Return something that was kept as it was seen."""
        return json.loads((self.folder / "seen" / name).read_text(encoding="utf-8"))

    def recorded(self, name: str) -> list[Event]:
        """Return what production's Redis was asked during a part of the walk."""
        return read_lines(self.folder / f"redis-{name}.jsonl")

    def rows(self, environment: str, query: str) -> list[list[Any]]:
        """Ask the database of an environment; times come as seconds since 1970, JSON as what it says."""
        with Tables(self.plan["environments"][environment]["database"]) as tables:
            return tables.rows(query)

    def changes(self, environment: str) -> list[dict[str, Any]]:
        """Return the audit of flags of an environment, the oldest first."""
        names = ("sequence", "at", "flag", "by", "origin", "before", "after", "previous", "digest")
        quoted = ", ".join(f'"{name}"' for name in names)
        found = self.rows(environment, f"SELECT {quoted} FROM mirroring_flagchange ORDER BY sequence")
        rows = [dict(zip(names, row, strict=True)) for row in found]
        return [row | {key: as_json(row[key]) for key in ("before", "after")} for row in rows]


def as_json(value: Any) -> Any:
    """Return what a JSON column holds, whichever database gave it."""
    return json.loads(value) if isinstance(value, str) else value
