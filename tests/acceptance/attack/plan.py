"""What one run of the attack is to do, read from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.plan import Failed, number


@dataclass(frozen=True)
class Plan:
    """How much of everything. `only`: the groups of cases to run (all, if empty), for whoever looks for one fault."""

    seed: int = 1
    fuzz: int = 4_000
    fuzz_contacts: int = 60
    refs: int = 100_000
    bomb_mb: int = 1_024
    dead: int = 1_000
    live: int = 50
    live_seconds: int = 60
    cap: int = 8
    checks: bool = False
    folder: Path | None = None
    only: frozenset[str] = frozenset()

    def runs(self, group: str) -> bool:
        """Tell whether a group of cases is part of this run."""
        return not self.only or group in self.only


def read_plan(environment: Mapping[str, str]) -> Plan:
    """Read SEED and the sizes; refuse what makes no sense."""

    def size(name: str, default: int, least: int) -> int:
        return number(environment, name, default=default, least=least)

    folder = environment.get("ATTACK_FOLDER", "")
    if folder and Path(folder).exists() and any(Path(folder).iterdir()):
        raise Failed(f"ATTACK_FOLDER={folder} is not empty: give a folder of its own")
    return Plan(
        seed=size("SEED", 1, 0),
        fuzz=size("ATTACK_FUZZ", 4_000, 100),
        fuzz_contacts=size("ATTACK_FUZZ_CONTACTS", 60, 0),
        refs=size("ATTACK_REFS", 100_000, 10),
        bomb_mb=size("ATTACK_BOMB_MB", 1_024, 200),
        dead=size("ATTACK_DEAD", 1_000, 20),
        live=size("ATTACK_LIVE", 50, 5),
        live_seconds=size("ATTACK_SECONDS", 60, 15),
        cap=size("ATTACK_CAP", 8, 2),
        checks=bool(environment.get("ATTACK_CHECKS")),
        folder=Path(folder).resolve() if folder else None,
        only=frozenset(environment.get("ATTACK_ONLY", "").split()),
    )
