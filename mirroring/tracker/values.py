"""What the job tracker speaks of: pools, leases, counts and workers."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum


class TrackerDown(Exception):
    """Redis cannot be reached, or refuses: nothing is admitted until it answers again."""


class Pool(StrEnum):
    """The pools of leases."""

    PROCESSING = "processing"
    IMPORTING = "importing"


class Door(Enum):
    """What the door said to a job."""

    OPEN = 1
    FULL = 0
    HOST_FULL = 2
    NOT_READY = -1


@dataclass(frozen=True)
class Room:
    """What the host of a job may hold, with this job. Host 0: not known, so not held to anything."""

    host: int
    slots: int


ANY_HOST = Room(host=0, slots=1_000_000_000)


@dataclass(frozen=True)
class Counts:
    """What is held at one instant. `capacity` is the one in force; `ready` says whether the counts can be trusted."""

    ready: bool
    capacity: int
    importing: int
    processing: int
    slots: int
    at: datetime


@dataclass(frozen=True)
class Begun:
    """How a run of the scheduler begins: whether it leads, whether freed slots ask for runs, and what is held."""

    leads: bool
    refills_by_event: bool
    counts: Counts


@dataclass(frozen=True)
class Lease:
    """One lease of a pool. `host`: whose job it is, where the rows have said so."""

    token: str
    deadline: datetime
    host: int = 0


@dataclass(frozen=True)
class Worker:
    """What one worker process says of itself."""

    name: str
    slots: int
    flags: dict[str, bool]
    expires_at: datetime
    trouble: str = ""
    """Why it takes no imports now though it could."""

    @property
    def queues(self) -> frozenset[str]:
        """Return the queues that it reads, with which its name begins."""
        return frozenset(self.name.partition("@")[0].split("+"))
