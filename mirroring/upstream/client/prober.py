"""Asks many upstreams at once: one thread with one event loop for the whole process, fair between hosts.

Questions are put in by any thread; answers come out of a queue in the order in which they arrive. A host is asked
only so many questions at once, and one that cannot be reached is left alone for a moment.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from queue import Empty, SimpleQueue
from typing import Any

from mirroring.rules.hosts import Signal
from mirroring.upstream.client.dialing import Dial, Unsupported
from mirroring.upstream.client.loop import LOOP, Loop
from mirroring.upstream.client.masters import Masters
from mirroring.upstream.client.probe import Heard, Question, Refused, Way, check
from mirroring.upstream.client.protocol import BadAnswer
from mirroring.upstream.errors import GitError

AT_ONCE = 200
"""Questions under way in one process; each holds one connection."""

PER_HOST = 8
GIT_AT_ONCE = 4
BY_GIT = frozenset({Way.GIT, Way.SSH})
ANSWER_SECONDS = 30.0
UNREACHABLE_IN_A_ROW = 3
QUIET_SECONDS = 20.0
"""How long a host is not asked after so many questions in a row could not be put to it."""

GATHER_SECONDS = 0.01


class Doubt(StrEnum):
    """Why an answer says nothing about whether there is something new."""

    UNREACHABLE = "unreachable"
    SLOW = "slow"
    OVERLOADED = "overloaded"
    REFUSED = "refused"
    NOT_GIT = "not git"
    UNSUPPORTED = "unsupported"
    BLOCKED = "blocked"
    UNASKED = "unasked"


@dataclass(frozen=True)
class Ask:
    """A question and the means to put it; `for_whom` comes back.

    `over_ssh` asks over a connection that is shared; `by_git` asks with a process and may block.
    """

    question: Question
    dial: Dial
    by_git: Callable[[], Heard] | None = None
    over_ssh: Callable[[Masters], Awaitable[Heard]] | None = None
    for_whom: Any = None
    until: float = math.inf
    """On the monotonic clock: later it is not put any more."""

    patience: float = ANSWER_SECONDS
    """Seconds in which it has to be answered, once it is put."""


@dataclass(frozen=True)
class Answer:
    """What was heard, or why nothing was."""

    ask: Ask
    heard: Heard | None = None
    doubt: Doubt | None = None
    said: str = ""


@dataclass
class _Line:
    """The questions for one host."""

    waiting: deque[Ask] = field(default_factory=deque)
    running: int = 0
    in_rotation: bool = False
    failures: int = 0
    quiet_until: float = 0.0
    limit: int = PER_HOST

    def note(self, doubt: Doubt | None) -> None:
        """Count questions in a row that could not be put."""
        if doubt not in {Doubt.UNREACHABLE, Doubt.SLOW, Doubt.OVERLOADED}:
            self.failures = 0
            return
        self.failures += 1
        if self.failures >= UNREACHABLE_IN_A_ROW:
            self.quiet_until = time.monotonic() + QUIET_SECONDS

    @property
    def is_quiet(self) -> bool:
        """Say whether the host is left alone now."""
        return time.monotonic() < self.quiet_until


class Prober:
    """Puts questions to hosts, each in its turn."""

    def __init__(self, loop: Loop = LOOP, *, at_once: int = AT_ONCE) -> None:
        self._loop = loop
        self._at_once = at_once
        self._lines: dict[str, _Line] = {}
        self._rotation: deque[_Line] = deque()
        self._workers = 0
        self._answers: SimpleQueue[list[Answer]] = SimpleQueue()
        self._gathered: list[Answer] = []
        self._git = ThreadPoolExecutor(GIT_AT_ONCE, thread_name_prefix="ls-remote")
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, asks: Iterable[Ask], *, limits: Mapping[str, int] | None = None) -> None:
        """Have questions asked. `limits` says how many at once a host, named with its port, may be asked."""
        self._loop.get().call_soon_threadsafe(self._put, list(asks), limits or {})

    def answers(self, *, wait: float) -> list[Answer]:
        """Return what has come in, at least one answer unless none comes within `wait` seconds."""
        found: list[Answer] = []
        try:
            found += self._answers.get(timeout=wait)
            while True:
                found += self._answers.get_nowait()
        except Empty:
            return found

    def _put(self, asks: list[Ask], limits: Mapping[str, int]) -> None:
        for ask in asks:
            host = ask.question.target.origin.authority
            line = self._lines.setdefault(host, _Line())
            line.limit = max(1, limits.get(host, PER_HOST))
            line.waiting.append(ask)
            self._rotate(line)
        for _ in range(min(len(asks), self._at_once - self._workers)):
            self._workers += 1
            task = asyncio.get_running_loop().create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _rotate(self, line: _Line) -> None:
        if line.waiting and not line.in_rotation and line.running < line.limit:
            line.in_rotation = True
            self._rotation.append(line)

    async def _work(self) -> None:
        """Ask one question after another, going round the hosts, until none may be asked."""
        try:
            while self._rotation:
                line = self._rotation.popleft()
                line.in_rotation = False
                ask = line.waiting.popleft()
                line.running += 1
                self._rotate(line)
                try:
                    answer = await self._ask(line, ask)
                finally:
                    line.running -= 1
                    self._rotate(line)
                self._hand_out(answer)
        finally:
            self._workers -= 1

    def _hand_out(self, answer: Answer) -> None:
        """Let answers gather for a moment: waking the other thread costs more than a check."""
        if not self._gathered:
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self._flush)
        self._gathered.append(answer)

    def _flush(self) -> None:
        self._answers.put(self._gathered)
        self._gathered = []

    async def _ask(self, line: _Line, ask: Ask) -> Answer:
        if line.is_quiet or time.monotonic() > ask.until:
            return Answer(ask, doubt=Doubt.UNASKED)
        try:
            async with asyncio.timeout(ask.patience):
                heard = await self._hear(ask)
        except Exception as error:
            doubt = _doubt_of(error)
            line.note(doubt)
            return Answer(ask, doubt=doubt, said=str(error))
        line.note(None)
        return Answer(ask, heard=heard)

    async def _hear(self, ask: Ask) -> Heard:
        if ask.question.way is Way.SSH and ask.over_ssh is not None:
            with suppress(Unsupported, BadAnswer):  # Git may know better.
                return await ask.over_ssh(self._loop.masters)
        if ask.question.way in BY_GIT and ask.by_git is not None:
            return await asyncio.get_running_loop().run_in_executor(self._git, ask.by_git)
        return await check(self._loop.pool, ask.question, dial=ask.dial)


_DOUBTS: tuple[tuple[type[Exception], Doubt], ...] = (
    (TimeoutError, Doubt.SLOW),
    (Refused, Doubt.REFUSED),
    (BadAnswer, Doubt.NOT_GIT),
    (Unsupported, Doubt.UNSUPPORTED),
    (GitError, Doubt.BLOCKED),
    (OSError, Doubt.UNREACHABLE),
)
_SIGNALLED = {Signal.UNREACHABLE: Doubt.UNREACHABLE, Signal.OVERLOADED: Doubt.OVERLOADED}


def _doubt_of(error: Exception) -> Doubt:
    """Return the class of what went wrong. Nothing that goes wrong here may end the loop: it is a doubt, at most."""
    if isinstance(error, Refused) and error.status in {429, 503}:
        return Doubt.OVERLOADED
    if isinstance(error, GitError) and error.signal in _SIGNALLED:
        return _SIGNALLED[error.signal]
    return next((doubt for kind, doubt in _DOUBTS if isinstance(error, kind)), Doubt.NOT_GIT)
