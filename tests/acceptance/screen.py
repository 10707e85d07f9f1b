"""What one sees while it runs: a live table on a terminal, a line every few seconds elsewhere."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tests.acceptance.journal import Journal
from tests.acceptance.plan import Plan

LOOK_SECONDS = 1.0
LINE_SECONDS = 4.0
WINDOW_SECONDS = 10.0
COLOURS = {"finished": "green", "failed": "red", "started": "cyan", "scheduled": "blue", "none": "white"}


@dataclass
class State:
    """The figures on the screen."""

    statuses: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    flags: str = ""
    slots: int = 0
    throughput: float = 0.0
    checks: dict[str, int] = field(default_factory=dict)

    @property
    def imports_ended_well(self) -> int:
        """How many imports have succeeded so far, by the product's own count."""
        return self.outcomes.get("changed", 0) + self.outcomes.get("unchanged", 0)


class Screen:
    """Asks the product's /metrics once a second and shows it."""

    def __init__(self, plan: Plan, journal: Journal, *, metrics: Callable[[], str]) -> None:
        self.state = State()
        self._plan, self._journal = plan, journal
        self._metrics = metrics
        self._ended: deque[tuple[float, int]] = deque()
        self._stopping = threading.Event()
        self._console = Console(highlight=False)
        self._live = Live(get_renderable=self._table, console=self._console, refresh_per_second=2)
        self._threads = [threading.Thread(target=self._look, daemon=True)]
        if not self._console.is_terminal:
            self._threads.append(threading.Thread(target=self._print_lines, daemon=True))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping.set()
        if self._console.is_terminal:
            self._live.stop()
        for thread in self._threads:
            thread.join()

    def _look(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            text = self._metrics()
            if text:
                self._read(text)

    def _read(self, text: str) -> None:
        found: dict[str, dict[str, int]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                label = next(iter(sample.labels.values()), "")
                found.setdefault(sample.name, {})[label] = int(sample.value)
        self.state.statuses = found.get("mirroring_mirrors", {})
        self.state.outcomes = found.get("mirroring_attempts_last_hour", {})
        self.state.checks = {
            name.removeprefix("checks "): number
            for name, number in found.get("mirroring_events_total", {}).items()
            if name.startswith("checks ")
        }
        self.state.slots = found.get("mirroring_slots_used", {}).get("importing", 0)
        flags = found.get("mirroring_feature_flag", {})
        self.state.flags = "  ".join(f"{name} {'on' if on else 'off'}" for name, on in sorted(flags.items()))
        self._measure(sum(self.state.outcomes.values()))

    def _measure(self, ended: int) -> None:
        now = time.monotonic()
        self._ended.append((now, ended))
        while now - self._ended[0][0] > WINDOW_SECONDS:
            self._ended.popleft()
        begin, before = self._ended[0]
        self.state.throughput = (ended - before) / (now - begin) if now > begin else 0.0

    def _table(self) -> Group:
        table = Table(title=f"{self._journal.phase}   {self._journal.seconds():.0f} s", title_justify="left")
        for column in ("", "now", ""):
            table.add_column(column, justify="right" if column == "now" else "left")
        for status, number in self.state.statuses.items():
            colour = COLOURS.get(status, "yellow")
            table.add_row(status, str(number), _bar(number, of=self._plan.mirrors, colour=colour))
        slots = self.state.slots
        colour = "red" if slots > self._plan.cap else "magenta"
        table.add_row(
            "slots in use", f"{slots}/{self._plan.cap}", _bar(slots, of=self._plan.cap, colour=colour)
        )
        table.add_row("imports a second", f"{self.state.throughput:.1f}", "")
        flags = Text(f"  {self.state.flags}", style="dim")
        return Group(table, flags, *(Text(f"  {line}") for line in list(self._journal.last)))

    def _print_lines(self) -> None:
        while not self._stopping.wait(LINE_SECONDS):
            statuses = " ".join(f"{name}={number}" for name, number in self.state.statuses.items() if number)
            print(
                f"{self._journal.seconds():5.0f} s  {self._journal.phase}: {statuses or 'no figures yet'}"
                f"  slots={self.state.slots}/{self._plan.cap}  imports/s={self.state.throughput:.1f}",
                flush=True,
            )


def _bar(number: int, *, of: int, colour: str) -> ProgressBar:
    return ProgressBar(
        total=of, completed=min(number, of), width=40, complete_style=colour, finished_style=colour
    )
