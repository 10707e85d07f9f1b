"""What one run of the chaos is to do, read from the environment."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.plan import Failed, number

FULL_MIRRORS = 300
FULL_SECONDS = 330
FULL_KILLS = 44
FLAGS = ("project_import_schedule_worker_job_tracker", "update_all_mirrors_job_tracker")
CHECKS = "check_before_import"


@dataclass(frozen=True)
class Plan:
    """How much, how long, on what, and from which seed."""

    seed: int = 1
    mirrors: int = FULL_MIRRORS
    seconds: int = FULL_SECONDS
    database: str = "sqlite"
    folder: Path | None = None
    rate: float = 8.0
    checks: bool = False

    @property
    def share(self) -> float:
        """How much of a full run this is."""
        return min(1.0, self.seconds / FULL_SECONDS)

    @property
    def imports(self) -> int:
        """How many imports have to be completed: 3,000 in a full run, fewer where checks find nothing new."""
        return int(10 * min(self.mirrors, FULL_MIRRORS) * self.share * (0.4 if self.checks else 1))

    @property
    def kills(self) -> int:
        """How many SIGKILLs are sent."""
        return max(10, round(FULL_KILLS * self.share))

    @property
    def least_kills(self) -> int:
        """How many SIGKILLs have to hit, and how many of them a process with an import in flight."""
        return max(8, round(40 * self.share))

    @property
    def least_hits(self) -> int:
        """How many SIGKILLs have to hit a process with an import in flight."""
        return max(5, round(30 * self.share))

    @property
    def cap(self) -> int:
        """The capacity that is set at the beginning, to which every change of it returns."""
        return 12

    @property
    def slots(self) -> int:
        """Import slots of each of the two workers: more than the cap together, so that the tracker holds the cap."""
        return 9

    @property
    def delay(self) -> int:
        """Seconds between two imports of a mirror, so that all of them together ask for `rate` imports a second."""
        return max(3, round(self.mirrors / self.rate))

    @property
    def lease(self) -> int:
        """The lease in seconds."""
        return 8

    @property
    def tick(self) -> int:
        """The tick of the scheduler in seconds; repair has the same."""
        return 2

    @property
    def settings(self) -> dict[str, int | str]:
        """The product's settings; min before max, since the pair is checked at each change."""
        return {
            "mirror_min_delay_seconds": self.delay,
            "mirror_max_delay_seconds": self.delay,
            "mirror_jitter_seconds": 2,
            "mirror_max_retry": 1000,
            "mirror_max_capacity": self.cap,
            "mirror_capacity_threshold": self.cap // 2,
            # All upstreams are one host here, and one that fails on purpose: nothing is to be held back for that.
            "mirror_host_share_percent": 100,
            "mirror_host_adaptive": "false",
            "schedule_wait_timeout_seconds": 5,
            "lease_seconds": self.lease,
            "tick_seconds": self.tick,
            "repair_tick_seconds": self.tick,
            "fetch_timeout_seconds": 6,
        }


def read_plan(environment: Mapping[str, str]) -> Plan:
    """Read SEED, CHAOS_MIRRORS, CHAOS_SECONDS, CHAOS_CHECKS, CHAOS_FOLDER and DATABASE; refuse what makes no sense."""
    database = environment.get("DATABASE") or "sqlite"
    if database not in ("sqlite", "postgresql"):
        raise Failed(f"DATABASE must be sqlite or postgresql, not {database!r}")
    folder = environment.get("CHAOS_FOLDER")
    return Plan(
        seed=number(environment, "SEED", default=1, least=0),
        mirrors=number(environment, "CHAOS_MIRRORS", default=FULL_MIRRORS, least=20),
        seconds=number(environment, "CHAOS_SECONDS", default=FULL_SECONDS, least=20),
        database=database,
        checks=bool(environment.get("CHAOS_CHECKS")),
        folder=Path(folder).resolve() if folder else None,
    )


def make_folder(plan: Plan) -> Path:
    """Make the folder that a run leaves its evidence in."""
    if plan.folder:
        plan.folder.mkdir(parents=True, exist_ok=True)
        return plan.folder
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.chmod(0o711)  # Root hands PostgreSQL over to another user, who has to get in.
    return folder
