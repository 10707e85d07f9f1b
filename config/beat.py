"""Beat's schedule: ticks whose lengths an operator may change while beat runs, and some of fixed length."""

import os
import socket
from datetime import datetime, timedelta
from typing import Any

from celery.beat import PersistentScheduler
from celery.schedules import schedstate, schedule
from django.db import DatabaseError, close_old_connections

from mirroring.publish import waiting
from mirroring.tracker.connection import connect
from mirroring.tracker.job_tracker import TrackerDown

ANNOUNCED = timedelta(seconds=30)
"""How long beat counts as alive after its last step; it takes one every two seconds."""

AGAIN_SECONDS = 1.0
"""After this beat looks whether Redis is back."""

MOST_WAITING = 20
"""Messages in a queue beyond which beat adds none: several times the kinds of ticks, so that none keeps out another."""


class LiveTick(schedule):
    """A fixed interval whose length is a field of the scheduling settings."""

    run_every: timedelta

    def __init__(self, field: str, seconds: float, **kwargs: Any) -> None:
        self.field = field
        super().__init__(run_every=seconds, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.__class__, (self.field, self.seconds)

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Say whether the tick is due, by the interval as it is set now."""
        from mirroring.models import SchedulingSettings

        try:
            close_old_connections()
            self.run_every = timedelta(seconds=getattr(SchedulingSettings.current(), self.field))
        except DatabaseError:
            pass  # The interval as it was last seen; ticks are harmless while the database is away.
        return super().is_due(last_run_at)


class LiveScheduler(PersistentScheduler):
    """Beat's own scheduler, but each message expires before the next one is sent, and few wait in a queue."""

    def setup_schedule(self) -> None:
        """Install the ticks."""
        super().setup_schedule()
        ticks = {"update_all_mirrors": ("tick_seconds", 60), "repair": ("repair_tick_seconds", 10)}
        fixed = {
            "check_mirrors": 5,
            "sample_metrics": 5,
            "drive_rollouts": 10,
            "send_late_answers": 10,
        }
        entries: dict[str, Any] = {
            name: {"task": f"mirroring.tasks.{name}", "schedule": LiveTick(field, seconds)}
            for name, (field, seconds) in ticks.items()
        }
        for name, seconds in fixed.items():
            entries[name] = {"task": f"mirroring.tasks.{name}", "schedule": schedule(run_every=seconds)}
        self.merge_inplace(entries)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Say that beat lives, as the workers do, and look at every entry.

        Beat's own heap would hide a tick that was made shorter behind the others. While Redis is away nothing can be
        sent: what is due stays so.
        """
        try:
            connect().announce(
                f"beat@{socket.gethostname()}:{os.getpid()}", slots=0, flags={}, life=ANNOUNCED
            )
        except TrackerDown:
            return AGAIN_SECONDS
        self._heap = None
        return super().tick(*args, **kwargs)

    def apply_async(self, entry: Any, *args: Any, **kwargs: Any) -> Any:
        """Send a tick that is worthless once the next one is due.

        None is sent to a queue that is not read: what has expired is thrown away only by a worker that reads it, and
        one that checks reads nothing for as long as there is something to check.
        """
        # Asked over a connection of its own: the one of the producer is mended by sending alone.
        if waiting(self.app, queue=self.app.conf.task_routes[entry.task]["queue"]) >= MOST_WAITING:
            return None
        entry.options["expires"] = entry.schedule.seconds
        return super().apply_async(entry, *args, **kwargs)
