"""What one walk is to do, read from the environment."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.plan import Failed, number

FIRST = "project_import_schedule_worker_job_tracker"
SECOND = "update_all_mirrors_job_tracker"
ENVIRONMENTS = ("dev", "staging", "canary", "production")
CAPACITY = 16
MIRRORS = (2 * CAPACITY, 400)
"""With fewer there is no backlog; more would make an hour of it."""
SECONDS = (30, 600)
"""In less, too few mirrors are scheduled for a ratio."""
DOOR_SECONDS = 1.0
"""What each job waits at the door: with two threads there, two mirrors a second get through."""
SLOW_DOOR_SECONDS = 2.0
"""The same where both arms are measured. One mirror a second gets through, fewer than the capacity takes: so there is
always something in the queue, and who does not count it finds slots free that are spoken for."""
UPSTREAM_SECONDS = (6.0, 12.0)
"""Between these an import waits for its upstream, spread evenly: the capacity takes 1.8 mirrors a second."""
BAKE_SECONDS = 20
STABLE_SECONDS = 3


@dataclass(frozen=True)
class Plan:
    """How many mirrors production has, and for how long each arm is measured."""

    seed: int = 1
    mirrors: int = 40
    seconds: int = 45
    database: str = ""
    """Of production, and empty; without it, and in the other environments, SQLite."""
    folder: Path | None = None

    @property
    def settings(self) -> dict[str, int | str]:
        """Production's settings: always a backlog, a queue that is slow, and a short patience with it."""
        return {
            "mirror_min_delay_seconds": 1,
            "mirror_max_delay_seconds": 8,
            "mirror_jitter_seconds": 1,
            "mirror_max_capacity": CAPACITY,
            "mirror_capacity_threshold": CAPACITY // 4,
            "schedule_wait_timeout_seconds": 4,  # GitLab waits four minutes.
            "lease_seconds": 30,
            "tick_seconds": 5,
            "repair_tick_seconds": 5,
            "fetch_timeout_seconds": 60,
            # There are two hosts: each may have all slots, from the first import on.
            "mirror_host_share_percent": 100,
            "mirror_host_adaptive": "false",
        }

    @property
    def refs_seconds(self) -> float:
        """How long every mirror may take to have its turn: what they need at the slow door, twice, and a start."""
        return 90 + SLOW_DOOR_SECONDS * self.mirrors

    @property
    def small_settings(self) -> dict[str, int | str]:
        """The settings of the other environments, which have two mirrors each."""
        return self.settings | {
            "mirror_min_delay_seconds": 4,
            "mirror_max_delay_seconds": 10,
            "mirror_max_capacity": 2,
            "mirror_capacity_threshold": 1,
        }


def read_plan(environment: Mapping[str, str]) -> Plan:
    """Read SEED, SEED_MIRRORS, SEED_SECONDS, SEED_FOLDER and DATABASE_URL; refuse what makes no sense."""
    folder = environment.get("SEED_FOLDER", "")
    return Plan(
        seed=number(environment, "SEED", default=1, least=0),
        mirrors=number(environment, "SEED_MIRRORS", default=40, least=MIRRORS[0], most=MIRRORS[1]),
        seconds=number(environment, "SEED_SECONDS", default=45, least=SECONDS[0], most=SECONDS[1]),
        database=environment.get("DATABASE_URL", ""),
        folder=Path(folder).resolve() if folder else None,
    )


def make_folder(plan: Plan) -> Path:
    """Make the folder of a run; one that was asked for must be empty."""
    if plan.folder is None:
        return Path(tempfile.mkdtemp(prefix="mirroring-seed-"))
    if plan.folder.exists() and any(plan.folder.iterdir()):
        raise Failed(f"{plan.folder} is not empty: name another SEED_FOLDER")
    plan.folder.mkdir(parents=True, exist_ok=True)
    return plan.folder


def remove(folder: Path) -> None:
    """Remove the folder of a good run."""
    shutil.rmtree(folder, ignore_errors=True)
