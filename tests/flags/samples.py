"""Definitions of flags that exist in tests only."""

from pathlib import Path

import yaml

BODY = {
    "description": "A flag that exists in tests only.",
    "type": "beta",
    "owner": {"team": "Tests", "contact": "@ada", "channel": "#g_tests"},
    "introduced_by": "a test",
    "milestone": "0.1",
    "rollout_issue": "none",
    "default": False,
    "actor": "none",
    "requires": None,
    "effects": [],
    "cleanup_hook": None,
    "intended_end": "0.4",
}


def write(folder: Path, name: str, **fields: object) -> Path:
    """Write a definition; a field that is `...` is left out."""
    body = {"name": name, **BODY, **fields}
    path = folder / f"{name}.yml"
    path.write_text(yaml.safe_dump({key: value for key, value in body.items() if value is not ...}))
    return path
