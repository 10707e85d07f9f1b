"""Asks many upstreams at once: one thread with one event loop for the whole process, fair between hosts.

Questions are put in by any thread; answers come out of a queue in the order in which they arrive. A host is asked
only so many questions at once, and one that cannot be reached is left alone for a moment.
"""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Condition

from mirroring.upstream.client.asks import Answer, Ask, Doubt, doubt_of
from mirroring.upstream.client.dialing import Unsupported
from mirroring.upstream.client.http1 import Connection, Head, Lost
from mirroring.upstream.client.loop import LOOP, Loop
from mirroring.upstream.client.probe import Heard, Posed, Way, check
from mirroring.upstream.client.protocol import BadAnswer

AT_ONCE = 200
"""Questions under way in one process; each holds one connection."""

PER_HOST = 8
GIT_AT_ONCE = 4
BY_GIT = frozenset({Way.GIT, Way.SSH})
LOOK_SECONDS = 1.0
UNREACHABLE_IN_A_ROW = 3
QUIET_SECONDS = 20.0
"""How long a host is not asked after so many questions in a row could not be put to it."""

_NOT_PUT = frozenset({Doubt.UNREACHABLE, Doubt.SLOW, Doubt.OVERLOADED})


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
        if doubt is None or doubt not in _NOT_PUT:
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
        self._lines: defaultdict[str, _Line] = defaultdict(_Line)
        self._rotation: deque[_Line] = deque()
        self._running = 0
        self._came = Condition()
        self._answers: list[Answer] = []
        self._enough = 1
        self._git = ThreadPoolExecutor(GIT_AT_ONCE, thread_name_prefix="ls-remote")
        self._tasks: set[asyncio.Task[None]] = set()
        self._quick: set[_Quick] = set()
        self._looks = False

    def put(self, asks: Iterable[Ask], *, limits: Mapping[str, int] | None = None) -> None:
        """Have questions asked. `limits` says how many at once a host, named with its port, may be asked."""
        self._loop.get().call_soon_threadsafe(self._put, list(asks), limits or {})

    def answers(self, *, wait: float, enough: int = 1) -> list[Answer]:
        """Return what has come in, as soon as it is `enough`, or what there is after `wait` seconds.

        Whoever asks is woken once: to be woken costs more than a check.
        """
        with self._came:
            self._enough = enough
            self._came.wait_for(lambda: len(self._answers) >= enough, timeout=wait)
            found, self._answers = self._answers, []
        return found

    def _put(self, asks: list[Ask], limits: Mapping[str, int]) -> None:
        for ask in asks:
            host = ask.question.target.origin.authority
            line = self._lines[host]
            line.limit = max(1, limits.get(host, PER_HOST))
            line.waiting.append(ask)
            self._rotate(line)
        self._go_on()

    def _rotate(self, line: _Line) -> None:
        if line.waiting and not line.in_rotation and line.running < line.limit:
            line.in_rotation = True
            self._rotation.append(line)

    def _go_on(self) -> None:
        """Put questions, going round the hosts, until no more may be under way."""
        while self._rotation and self._running < self._at_once:
            line = self._rotation.popleft()
            line.in_rotation = False
            ask = line.waiting.popleft()
            if line.is_quiet or time.monotonic() > ask.until:
                self._hand_out(Answer(ask, doubt=Doubt.UNASKED))
            else:
                line.running += 1
                self._running += 1
                if not (ask.question.way.is_v2 and self._begin(line, ask)):
                    self._take_time(line, ask)
            self._rotate(line)

    def _begin(self, line: _Line, ask: Ask) -> bool:
        """Send a question on a kept connection, without a task of its own. False: there is none."""
        quick = _Quick(self, line, ask)
        posed, origin = quick.posed, ask.question.target.origin
        quick.connection = self._loop.pool.begin(origin, posed.request, posed.sink(), quick)
        if quick.connection is None:
            return False
        self._quick.add(quick)
        if not self._looks:
            self._looks = True
            asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look_for_late_ones)
        return True

    def _look_for_late_ones(self) -> None:
        """End the exchanges whose time is over: one look at all, where a timer for each costs a tenth of a check."""
        now = time.monotonic()
        for quick in [each for each in self._quick if each.until < now]:
            quick.expire()
        self._looks = bool(self._quick)
        if self._looks:
            asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look_for_late_ones)

    def heard(self, quick: "_Quick", result: Head | Exception) -> None:
        """Take in how a question on a kept connection ended. One that turned out to be closed is replaced."""
        self._quick.discard(quick)
        if isinstance(result, Lost):
            self._take_time(quick.line, quick.ask)
            return
        try:
            if isinstance(result, Exception):
                raise result
            answer = Answer(quick.ask, heard=quick.posed.heard(result))
            quick.line.note(None)
        except Exception as error:
            answer = _doubtful(quick.line, quick.ask, error)
        self._end(quick.line, answer)

    def _take_time(self, line: _Line, ask: Ask) -> None:
        """Put a question in a task of its own: a connection is to be opened, or a process to be started."""
        task = asyncio.get_running_loop().create_task(self._ask(line, ask))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _end(self, line: _Line, answer: Answer) -> None:
        self._running -= 1
        line.running -= 1
        self._rotate(line)
        self._hand_out(answer)
        self._go_on()

    def _hand_out(self, answer: Answer) -> None:
        with self._came:
            self._answers.append(answer)
            if len(self._answers) >= self._enough:
                self._came.notify()

    async def _ask(self, line: _Line, ask: Ask) -> None:
        try:
            async with asyncio.timeout(ask.patience):
                answer = Answer(ask, heard=await self._hear(ask))
            line.note(None)
        except Exception as error:
            answer = _doubtful(line, ask, error)
        self._end(line, answer)

    async def _hear(self, ask: Ask) -> Heard:
        if ask.question.way is Way.SSH and ask.over_ssh is not None:
            with suppress(Unsupported, BadAnswer):  # Git may know better.
                return await ask.over_ssh(self._loop.masters)
        if ask.question.way in BY_GIT and ask.by_git is not None:
            return await asyncio.get_running_loop().run_in_executor(self._git, ask.by_git)
        return await check(self._loop.pool, ask.question, dial=ask.dial)


class _Quick:
    """A question that waits on a kept connection. Called with how that ended."""

    __slots__ = ("_prober", "ask", "connection", "line", "posed", "until")

    def __init__(self, prober: Prober, line: _Line, ask: Ask) -> None:
        self._prober, self.line, self.ask = prober, line, ask
        self.posed = Posed(ask.question)
        self.until = time.monotonic() + ask.patience
        self.connection: Connection | None = None

    def __call__(self, result: Head | Exception) -> None:
        late = self.until < time.monotonic()
        self._prober.heard(self, TimeoutError() if late and isinstance(result, Lost) else result)

    def expire(self) -> None:
        """Close the connection, which ends the exchange."""
        if self.connection is not None:
            self.connection.close()


def _doubtful(line: _Line, ask: Ask, error: Exception) -> Answer:
    doubt = doubt_of(error)
    line.note(doubt)
    return Answer(ask, doubt=doubt, said=str(error))
