"""What a Celery worker process does beside its tasks: heartbeat, leash, watchdog and an orderly end."""

import gc
import logging
import os
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from celery.signals import task_postrun, task_prerun, worker_ready, worker_shutdown, worker_shutting_down
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import close_old_connections, connection
from kombu.exceptions import OperationalError

from mirroring import publish, tasks
from mirroring.scheduler.heartbeat import INTERVAL, SHUT_DOWN, Heart
from mirroring.scheduler.janitor import kill_orphans
from mirroring.tracker.connection import connect
from mirroring.tracker.job_tracker import TrackerDown
from mirroring.upstream.access.credentials import sweep_keys
from mirroring.upstream.git.leash import LEASH

logger = logging.getLogger(__name__)

STALLED = 70
"""The exit status of a worker that gave itself up."""

CLEANING_SECONDS = 10


@dataclass
class Body:
    """One worker process: what it reads, what it can take, and the thread that keeps it alive."""

    app: Any
    queues: frozenset[str]
    concurrency: int
    heart: Heart
    running: Any
    ended: threading.Event = field(default_factory=threading.Event)
    last_task: float = field(default_factory=time.monotonic)
    cleaned: float = 0.0
    greeted: bool = False
    draining: bool = False

    def live(self) -> None:
        """Beat until the end."""
        while True:
            close_old_connections()
            try:
                self.heart.beat()
                self._say_hello()
                self._look_around()
            except Exception:
                # The imports of this process depend on this thread: a fault in one beat must not end it.
                logger.exception("heartbeat broke")
            if self.ended.wait(INTERVAL.total_seconds()):
                break
        connection.close()

    def _say_hello(self) -> None:
        """Wake the scheduler once this worker's slots are known: nothing could be admitted before."""
        if self.heart.slots and not self.greeted:
            tasks.wake_scheduler()
            self.greeted = True

    def _look_around(self) -> None:
        if time.monotonic() - self.cleaned < CLEANING_SECONDS:
            return
        self.cleaned = time.monotonic()
        try:
            if "imports" in self.queues:
                kill_orphans()
                sweep_keys()
            self._give_up_if_stalled()
        except (DatabaseError, OperationalError, TrackerDown):
            logger.warning("the store is away: this worker looks around later")

    def _give_up_if_stalled(self) -> None:
        """End the process if work waits, it is idle, and yet it has taken none for long: its supervisor starts another.

        After a reconnect Celery has been seen alive and consuming nothing; a process that runs proves little.
        """
        idle = len(self.running) < self.concurrency and not self.draining
        waits = sum(publish.waiting(self.app, queue=queue) for queue in self.queues)
        if not waits or not idle:
            self.last_task = time.monotonic()
        elif time.monotonic() - self.last_task > settings.STALL_SECONDS:
            logger.critical(
                "this worker takes no work although work waits: it gives itself up", extra={"waits": waits}
            )
            self.heart.in_flight.stop_all(SHUT_DOWN)
            os._exit(STALLED)

    def drain(self) -> None:
        """Take no more; stop what still runs after a while, or at once if asked a second time."""
        tasks.STOPPING.set()
        self.heart.slots = 0  # Still beating: what runs here keeps its slots until it ends.
        if self.draining:
            self.heart.in_flight.stop_all(SHUT_DOWN)
            return
        self.draining = True
        late = threading.Timer(settings.DRAIN_SECONDS, self.heart.in_flight.stop_all, args=(SHUT_DOWN,))
        late.daemon = True
        late.start()


_bodies: list[Body] = []

_YOUNG = 20_000
"""Objects made before the collector looks at the youngest: those of a batch of checks are gone by themselves first."""


def spare_the_collector() -> None:
    """Have the collector of cycles look seldom, and never again at what was loaded: it took a quarter of a check."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 50, 50)


@worker_ready.connect
def _start(sender: Any, **_: object) -> None:
    from celery.worker import state  # Imports the whole worker: only where there is one.

    spare_the_collector()
    queues = frozenset(queue.name for queue in sender.task_consumer.queues)
    slots = sender.controller.concurrency if "imports" in queues else 0
    name = f"{'+'.join(sorted(queues))}@{tasks.process_name()}"
    heart = Heart(name=name, slots=slots, tracker=connect(), in_flight=tasks.IN_FLIGHT)
    body = Body(sender.app, queues, sender.controller.concurrency, heart, running=state.active_requests)
    _bodies.append(body)
    if slots:
        LEASH.start(life=heart.grace)
    threading.Thread(target=body.live, name="heartbeat", daemon=True).start()
    if "control" in queues:
        # A stack that starts does not wait for its first ticks.
        tasks.repair.delay()
        tasks.wake_scheduler()


@task_prerun.connect
def _note(**_: object) -> None:
    close_old_connections()  # One that is kept for the next task is looked at before it is used.
    for body in _bodies:
        body.last_task = time.monotonic()


@task_postrun.connect
def _let_go(**_: object) -> None:
    close_old_connections()


@worker_shutting_down.connect
def _drain(**_: object) -> None:
    for body in _bodies:
        body.drain()


@worker_shutdown.connect
def _end(**_: object) -> None:
    for body in _bodies:
        body.ended.set()
        try:
            body.heart.tracker.leave(body.heart.name)
        except TrackerDown:
            logger.warning("a worker left without a word: its announcement runs out by itself")
