"""Git commands that contact an upstream: with one contact, within one time, bounded, and alone given the secret."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from django.conf import settings

from mirroring.upstream.access import ssh
from mirroring.upstream.access.contact import Contact
from mirroring.upstream.access.credentials import handed_over
from mirroring.upstream.access.reaching import reachable
from mirroring.upstream.errors import GitError
from mirroring.upstream.git.bounds import Pace, Watch, listed_within_bounds, listing_limits
from mirroring.upstream.git.confinement import Limits
from mirroring.upstream.git.environment import environment
from mirroring.upstream.git.process import NOTHING, StopHandle, run
from mirroring.upstream.policy.urls import bracketed
from mirroring.upstream.transfer import pauses

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
            reachable(self.contact, left=self.left(), stop=self.stop)
        pace = Pace(bytes_a_second=1000, idle=idle)
        with listed_within_bounds(trace):
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
                folder, key = self.folder / "ssh", handover.ssh_key
                extra |= ssh.prepare(self.contact, folder, key=key, left=self.left(), stop=self.stop)
                extra |= pace.environment if pace else {}
            configured = [*config_of(self.contact), *(pace.config if pace else []), *self.configured]
            surroundings = environment(configured, scheme=url.scheme, **handover.environment, **extra)
            held = handover.pass_fds
            limits = watch.limits if watch else listing_limits(traced=trace is not None)
            try:
                return self.run(
                    arguments,
                    environment=surroundings,
                    pass_fds=held,
                    limits=limits,
                    watch=watch,
                    given=given,
                )
            except GitError as error:
                raise pauses.told(error, self.contact) from None

    def run(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        pass_fds: Sequence[int] = (),
        limits: Limits | None = None,
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
            limits=limits or listing_limits(),
            watch=watch,
            output_limit=LISTING_LIMIT,
            quote_remote=self.contact.is_public,
            given=given,
        )


def config_of(contact: Contact) -> list[tuple[str, str]]:
    """Return the configuration that ties git to one contact: its server, its addresses, its way there."""
    url = contact.url
    config = [("remote.m.url", url.url)]
    if contact.addresses and url.scheme != "ssh":
        addresses = ",".join(bracketed(address) for address in contact.addresses)
        config.append(("http.curloptResolve", f"{url.hostname}:{url.port}:{addresses}"))
    if contact.proxy:
        config.append(("http.proxy", contact.proxy))
    if contact.ca_bundle:
        config.append(("http.sslCAInfo", str(contact.ca_bundle)))
    if contact.client_certificate:
        both = str(contact.client_certificate)  # One file holds the certificate and its key.
        config += [("http.sslCert", both), ("http.sslKey", both)]
    return config
