"""What processes hold in memory, as the kernel counts it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Memory:
    """Megabytes. `shared_out`: each page counted once, shared out among its users; `resident`: counted by each."""

    shared_out: float
    resident: float


def of(pids: list[int]) -> Memory:
    """Return what these processes hold together."""
    rollups = [_rollup(pid) for pid in pids]
    return Memory(
        shared_out=sum(rollup.get("Pss", 0) for rollup in rollups) / 1024,
        resident=sum(rollup.get("Rss", 0) for rollup in rollups) / 1024,
    )


def _rollup(pid: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:  # It has ended.
        return {}
    return {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
