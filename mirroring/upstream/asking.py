"""Git commands that contact an upstream: with one contact, within one time, bounded, and alone given the secret."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from django.conf import settings

from mirroring.upstream import pauses, ssh
from mirroring.upstream.bounds import Pace, Watch, listed_within_memory, listing_limits
from mirroring.upstream.contact import Contact
from mirroring.upstream.credentials import handed_over
from mirroring.upstream.environment import config_of, environment
from mirroring.upstream.errors import GitError
from mirroring.upstream.process import NOTHING, StopHandle, run
from mirroring.upstream.reaching import reachable

LISTING_LIMIT = 64 * 1024 * 1024
"""Bytes: about a million refs."""


@dataclass(frozen=True)
class Git:
    """Git as it asks one upstream."""

    contact: Contact
    at: Sequence[str]
    """The options that say where git runs."""

    folder: Path
    """Where the configuration of SSH may be written."""

    left: Callable[[], timedelta]
    stop: StopHandle
    configured: Sequence[tuple[str, str]] = ()

    def list(self, *, idle: timedelta, trace: Path | None = None) -> str:
        """Return what the upstream lists. Raise GitError. `trace`: a file for the packets."""
        if self.contact.url.scheme != "ssh":
            reachable(self.contact)
        pace = Pace(bytes_a_second=1000, idle=idle)
        with listed_within_memory():
            return self.ask("ls-remote", "--symref", "--", self.contact.url.url, pace=pace, trace=trace)

    def ask(
        self,
        *arguments: str,
        pace: Pace | None,
        watch: Watch | None = None,
        trace: Path | None = None,
        given: Path = NOTHING,
    ) -> str:
        """Run a command that contacts the upstream: it alone is given the secret."""
        url = self.contact.url
        extra = {"GIT_TRACE_PACKET": str(trace)} if trace else {}
        with handed_over(self.contact.secret, url=url) as handover:
            if url.scheme == "ssh":
                extra |= ssh.prepare(self.contact, self.folder / "ssh", key=handover.ssh_key)
                extra |= pace.environment if pace else {}
            configured = [*config_of(self.contact), *(pace.config if pace else []), *self.configured]
            surroundings = environment(configured, scheme=url.scheme, **handover.environment, **extra)
            held = handover.pass_fds
            try:
                return self.run(arguments, environment=surroundings, pass_fds=held, watch=watch, given=given)
            except GitError as error:
                raise pauses.told(error, self.contact) from None

    def run(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        pass_fds: Sequence[int] = (),
        watch: Watch | None = None,
        given: Path = NOTHING,
    ) -> str:
        """Run a command, also one that contacts nobody."""
        return run(
            [settings.GIT, *self.at, *arguments],
            environment=environment,
            timeout=self.left(),
            stop=self.stop,
            pass_fds=pass_fds,
            limits=watch.limits if watch else listing_limits(),
            watch=watch,
            output_limit=LISTING_LIMIT,
            quote_remote=self.contact.is_public,
            given=given,
        )
