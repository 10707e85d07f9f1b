"""A row of the table: what we took, what a peer took, and whether the target is reached."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from rich.table import Table


class Target(StrEnum):
    """How the ratio is to be read."""

    AT_LEAST = "at least"  # the peer's figure by ours
    AT_MOST = "at most"  # ours by the peer's
    OURS_AT_LEAST = "ours at least"  # our own figure; the peer stands beside it
    STATED = "stated"  # no target: said because it belongs beside the others
    OURS_STATED = "ours stated"  # the same, of a figure that is the better the higher it is


@dataclass(frozen=True)
class Row:
    """One comparison. `ours` and `peer` are medians in `unit`; `void` says why it proves nothing."""

    row: str
    what: str
    peer_name: str
    unit: str
    ours: float
    peer: float
    target: float
    kind: Target = Target.AT_LEAST
    size: int = 0
    peer_size: int = 0
    why: str = ""
    void: str = ""
    course: tuple[float, ...] = ()
    """Our figure in each ten seconds of a long run."""

    @property
    def ratio(self) -> float:
        """Return the ratio that the target is about."""
        above, below = self.peer, self.ours
        if self.kind in (Target.AT_MOST, Target.OURS_AT_LEAST, Target.OURS_STATED):
            above, below = below, above
        return above / below if below else 0.0

    @property
    def has_target(self) -> bool:
        """Say whether the row is there to reach something."""
        return self.kind not in (Target.STATED, Target.OURS_STATED)

    @property
    def is_void(self) -> bool:
        """Say whether the row proves nothing. A target needs its peer: what did not run cannot be outrun."""
        return bool(self.void) or (self.has_target and not self.peer)

    @property
    def ok(self) -> bool | None:
        """Say whether the target is reached; None where there is none."""
        if self.is_void:
            return False
        if not self.has_target:
            return None
        if self.kind is Target.OURS_AT_LEAST:
            return self.ours >= self.target
        return self.ratio <= self.target if self.kind is Target.AT_MOST else self.ratio >= self.target

    @property
    def verdict(self) -> str:
        """Return the outcome in a word or two, a defeat as plainly as a success."""
        if self.is_void:
            return "VOID"
        if not self.peer:
            return "peer not run"
        if self.ok is None:
            return "stated" if self.ratio >= 1 else "stated: we lose"
        if self.ok:
            return "reached"
        lost = self.kind is Target.AT_LEAST and self.ratio < 1
        return "MISSED: we lose" if lost else "MISSED"

    def as_json(self) -> dict[str, Any]:
        """Return the row as it is written to a file."""
        values = {name: value for name, value in asdict(self).items() if name != "course" or value}
        return {**values, "ratio": round(self.ratio, 3), "ok": self.ok, "verdict": self.verdict}

    @classmethod
    def of_json(cls, values: dict[str, Any]) -> "Row":
        """Return the row of a file."""
        kept = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        return cls(**{**kept, "kind": Target(kept["kind"]), "course": tuple(kept.get("course", ()))})


def target_text(row: Row) -> str:
    """Return the target as people read it."""
    if not row.has_target:
        return "-"
    return f"{row.kind} {row.target:g}" + ("" if row.kind is Target.OURS_AT_LEAST else "x")


def table(rows: list[Row]) -> Table:
    """Return the rows as a table for the terminal."""
    shown = Table(show_edge=False, pad_edge=False)
    for heading in ("what", "against", "ours", "peer", "unit", "ratio", "target", ""):
        shown.add_column(heading, justify="right" if heading in ("ours", "peer", "ratio") else "left")
    for row in rows:
        figures = [f"{row.ours:.4g}", f"{row.peer:.4g}", row.unit, f"{row.ratio:.2f}x"]
        shown.add_row(row.what, row.peer_name, *figures, target_text(row), row.verdict)
    return shown
