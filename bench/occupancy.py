"""Share of the cap that is in use while mirrors wait: refill by event, against the tick alone and against legacy."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.harness import upstreams
from bench.harness.command import main
from bench.harness.lab import Lab, lab
from bench.harness.measure import require
from bench.harness.row import Row, Target
from bench.harness.scale import Scale
from bench.harness.stack import Stack, Words, as_it_is, running, wait_until

SAMPLES_A_SECOND = 20
TICK_SECONDS = 60.0
"""Beat's own: what is watched for less sees none of them, and is not to wait for the first."""

TICK, LEGACY = "the minute tick alone", "both flags off: waits, then runs again"
WHY = {
    TICK: "our own stack, with the refill by event taken away",
    LEGACY: "how GitLab refills without the second flag",
}


@dataclass
class Watched:
    """What was seen of the slots: by how many seconds how many were held, and the most at one instant."""

    seconds: float = 0.0
    held: float = 0.0
    most: int = 0
    samples: list[int] = field(default_factory=list)

    def add(self, held: int, *, seconds: float) -> None:
        """Note a sample that stands for the seconds since the one before."""
        self.seconds += seconds
        self.held += held * seconds
        self.most = max(self.most, held)
        self.samples.append(held)

    def share(self, cap: int) -> float:
        """Return the share of slot-seconds that were in use, in percent."""
        return 100 * self.held / self.seconds / cap if self.seconds else 0.0


@dataclass(frozen=True)
class Trial:
    """One way of running the stack, and for how long it is watched."""

    cap: int
    seconds: float
    flags: bool = True
    words: Words = as_it_is


def rows(scale: Scale) -> Iterator[Row]:
    """Yield a row for each other way of refilling."""
    cap, seconds = scale.pick(smoke=3, quick=8, full=20), scale.pick(smoke=4.0, quick=70.0, full=120.0)
    each = scale.pick(smoke=1.0, quick=5.0, full=10.0)
    trials = {
        "ours": Trial(cap, seconds),
        TICK: Trial(cap, seconds, words=_tick_alone),
        LEGACY: Trial(cap, seconds, flags=False),
    }
    names = scale.pick(smoke=["ours", TICK], quick=["ours", TICK], full=list(trials))
    backlog = int(cap * (seconds / each + 4) * 2)
    with (
        lab("sqlite") as place,
        upstreams.slow(place.folder, mirrors=backlog, seconds=each, seed=scale.seed) as urls,
    ):
        upstreams.add(urls)
        share = {name: _measure(place, trials[name]).share(cap) for name in names}
    for name in names[1:]:
        yield Row(
            row="occupancy",
            what=f"share of {cap} slots in use, imports of {each:g} s, a backlog, {seconds:g} s",
            peer_name=name,
            unit="% of slot-seconds",
            ours=share["ours"],
            peer=share[name],
            target=98 if name == TICK else 0,
            kind=Target.OURS_AT_LEAST if name == TICK else Target.OURS_STATED,
            size=cap,
            why=WHY[name],
        )


def _measure(place: Lab, trial: Trial) -> Watched:
    _reset(place, trial)
    with running(place, slots=trial.cap * 2, words=trial.words) as stack:
        tracker = _tracker()
        if trial.seconds < TICK_SECONDS:
            stack.tick()
        wait_until(
            lambda: tracker.counts(max_capacity=trial.cap).importing == trial.cap,
            seconds=90,
            what="the slots were filled once",
            watch=stack,
        )
        return watch(tracker, trial, stack)


def watch(tracker: Any, trial: Trial, stack: Stack | None) -> Watched:
    """Sample the slots for a while. Void if they ever exceed the cap, by either count, or if the backlog ends."""
    from mirroring.models import ImportState

    seen, began = Watched(), time.monotonic()
    last = began
    while last - began < trial.seconds:
        time.sleep(1 / SAMPLES_A_SECOND)
        counts = tracker.counts(max_capacity=trial.cap)
        now = time.monotonic()
        seen.add(counts.importing, seconds=now - last)
        last = now
        rows = ImportState.objects.in_flight().count()
        require(max(rows, counts.importing) <= trial.cap, otherwise=f"{rows} rows over a cap of {trial.cap}")
        if stack:
            stack.require_alive()
    left = ImportState.objects.overdue(now=tracker.now()).count()
    require(left >= trial.cap, otherwise=f"the backlog ended: {left} mirrors were left waiting")
    return seen


def _tracker() -> Any:
    from mirroring.tracker.connection import connect

    return connect()


def _reset(place: Lab, trial: Trial) -> None:
    """Put everything back to before the first import, and set flags and cap."""
    from mirroring.flags.changes import set_flag
    from mirroring.flags.registry import FlagName
    from mirroring.models import ImportState, SchedulingSettings

    place.redis.flushall()
    now = _tracker().now()
    ImportState.objects.update(
        status="none",
        next_execution_at=now,
        import_due_at=now,
        claimed_at=None,
        claim_expires_at=None,
        hard_failed=False,
    )
    # All mirrors of one host: it may have every slot.
    one_host = {"mirror_host_share_percent": 100, "mirror_host_adaptive": False}
    SchedulingSettings(mirror_max_capacity=trial.cap, mirror_min_delay_seconds=7200, **one_host).save()
    for name in FlagName:
        if name.endswith("_job_tracker"):  # Checks would rest between the imports.
            set_flag(name, on=trial.flags, by="bench", force=True)


def _tick_alone(name: str, words: Sequence[str]) -> Sequence[str]:
    if name != "control":
        return words
    return ["-m", "bench.peers.tick_alone", *words[words.index("worker") :]]


if __name__ == "__main__":
    main("occupancy", rows)
