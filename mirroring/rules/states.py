"""The import state machine: which status may follow which.

The statuses and moves are those of GitLab's pull mirroring, so that its users find what they know:
none, scheduled, started, finished, failed, canceled.
"""

from enum import StrEnum


class Status(StrEnum):
    """Where a mirror stands between "nothing yet" and "its last import ended"."""

    NONE = "none"
    SCHEDULED = "scheduled"
    STARTED = "started"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELED = "canceled"


IN_FLIGHT = frozenset({Status.SCHEDULED, Status.STARTED})
"""The statuses that hold an importing slot."""

AT_REST = frozenset(Status) - IN_FLIGHT

MAY_FOLLOW: dict[Status, frozenset[Status]] = {
    # A canceled mirror is taken up again at its next due time; GitLab needed a fix for rows that never were.
    Status.SCHEDULED: frozenset({Status.NONE, Status.FINISHED, Status.FAILED, Status.CANCELED}),
    Status.STARTED: frozenset({Status.SCHEDULED}),
    Status.FINISHED: frozenset({Status.STARTED}),
    Status.FAILED: IN_FLIGHT,
    Status.CANCELED: IN_FLIGHT,
    Status.NONE: frozenset(),
}
"""For each status, those that it may follow. Every move is one UPDATE guarded by this table."""
