"""Sending jobs the way Celery's documentation shows it, and in the best way that its public interface has."""

from collections.abc import Iterable, Sequence
from typing import Any

Jobs = Iterable[Sequence[object]]


def apply_async_loop(task: Any, jobs: Jobs) -> None:
    """Call `apply_async` once a job: what everybody writes first."""
    for arguments in jobs:
        task.apply_async(tuple(arguments))


def apply_async_batch(task: Any, jobs: Jobs) -> None:
    """Call `apply_async` with one producer in kombu's batch: the best that keeps `apply_async`."""
    with task.app.producer_or_acquire() as producer, producer.batch(max_size=1000):
        for arguments in jobs:
            task.apply_async(tuple(arguments), producer=producer)
