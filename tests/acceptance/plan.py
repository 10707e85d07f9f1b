"""What one run of the demo is to do, read from the environment."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FEWEST_MIRRORS = 4
UPDATES, CLONES, CHECKED = 10, 3, 10
# Both flags, in the order in which the run goes through their positions.
POSITIONS = ((False, False), (True, False), (True, True), (False, True))


class Failed(Exception):
    """The run did not show what it should; the message ends up in its last line."""


@dataclass(frozen=True)
class Plan:
    """How many mirrors under which cap; `given` are the repositories of a list, in place of made ones."""

    mirrors: int = 60
    cap: int = 8
    seed: int = 1
    keep: bool = False
    given: tuple[str, ...] = ()

    @property
    def updates(self) -> int:
        """How many mirrors get pushed changes: none of a given list, for those repositories are not ours."""
        return 0 if self.given else min(UPDATES, self.mirrors - len(BEHAVIOURS))

    @property
    def clones(self) -> int:
        """How many mirrors are cloned."""
        return min(CLONES, self.mirrors if self.given else self.mirrors - len(BEHAVIOURS))

    @property
    def checked(self) -> int:
        """How many checks at least must find nothing new: none of a given list, whose servers are not ours."""
        return 0 if self.given else min(CHECKED, 2 * (self.mirrors - len(BEHAVIOURS)))

    @property
    def reaches_cap(self) -> bool:
        """Whether there is so much to do that the cap must be reached."""
        return not self.given and self.mirrors >= 2 * self.cap

    @property
    def upstream_delay(self) -> float:
        """Seconds before the upstream answers a handshake: so long that two cores keep `cap` imports busy."""
        return 0.05 * self.cap + 0.1

    @property
    def settings(self) -> dict[str, int]:
        """The product's settings for a run of minutes; min before max, since the pair is checked at each change."""
        longest = max(8, self.mirrors // 8)
        return {
            "mirror_min_delay_seconds": 3,
            "mirror_max_delay_seconds": longest,
            "mirror_jitter_seconds": 1,
            "mirror_max_retry": 1000,
            "mirror_max_capacity": self.cap,
            "mirror_capacity_threshold": max(1, self.cap // 2),
            "schedule_wait_timeout_seconds": 5,
            "lease_seconds": 15,
            "tick_seconds": 3,
            "repair_tick_seconds": 3,
            # Long enough for the big one while `cap` others share the machine; the one that hangs waits it out.
            "fetch_timeout_seconds": 10 + self.cap // 2,
        }


# What the three expected failures do to their clients.
BEHAVIOURS = ("auth", "gone", "hang")


def read_plan(environment: Mapping[str, str]) -> Plan:
    """Read DEMO_MIRRORS, DEMO_CAP, SEED, KEEP and MIRRORS; refuse what makes no sense."""
    given = read_list(Path(environment["MIRRORS"])) if environment.get("MIRRORS") else ()
    mirrors = len(given) or number(environment, "DEMO_MIRRORS", default=60, least=FEWEST_MIRRORS)
    return Plan(
        mirrors=mirrors,
        cap=number(environment, "DEMO_CAP", default=8, least=1),
        seed=number(environment, "SEED", default=1, least=0),
        keep=environment.get("KEEP", "") not in ("", "0"),
        given=given,
    )


def number(
    environment: Mapping[str, str], name: str, *, default: int, least: int, most: int | None = None
) -> int:
    """Read a number, or raise Failed with what would be right."""
    text = environment.get(name) or str(default)
    if not text.isdecimal() or not least <= int(text) <= (int(text) if most is None else most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise Failed(f"{name} must be a whole number {bounds}, not {text!r}")
    return int(text)


def read_list(path: Path) -> tuple[str, ...]:
    """Read URLs and paths: one a line, CSV with a column `url`, or a JSON list; as `mirror import` takes them."""
    try:
        text = path.read_text(encoding="utf-8")
        found = [entry.strip() for entry in _entries(text)]
    except OSError as error:
        raise Failed(f"MIRRORS={path} cannot be read ({error.strerror}): give the path of a list") from None
    except (ValueError, KeyError, TypeError) as error:
        raise Failed(f"MIRRORS={path} cannot be read: {error}") from None
    if not found:
        raise Failed(f"MIRRORS={path} names no repository")
    return tuple(entry if "://" in entry else _local(path.parent / entry) for entry in found)


def _entries(text: str) -> list[str]:
    if text.lstrip().startswith("["):
        return [entry if isinstance(entry, str) else str(entry["url"]) for entry in json.loads(text)]
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if lines and "url" in [cell.strip() for cell in lines[0].split(",")]:
        return [
            str(row["url"]) for row in csv.DictReader(io.StringIO("\n".join(lines)), skipinitialspace=True)
        ]
    return lines


def _local(path: Path) -> str:
    path = path.resolve()
    for candidate in (path, path / ".git"):
        if (candidate / "HEAD").is_file() and (candidate / "objects").is_dir():
            return str(candidate)
    raise Failed(f"{path} is no git repository")
