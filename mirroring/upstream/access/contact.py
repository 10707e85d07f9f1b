"""The one door to somebody else's server: the policy asked, the addresses pinned, the way there chosen.

A contact is made for each use and never stored: what a name stands for, and what is allowed, may change meanwhile.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from django.conf import settings

from mirroring.models import Host
from mirroring.rules.outcomes import Outcome
from mirroring.upstream.access.credentials import Secret
from mirroring.upstream.client.dialing import Origin
from mirroring.upstream.errors import Blocked, GitError
from mirroring.upstream.policy import guard, urls
from mirroring.upstream.policy.urls import UpstreamURL


@dataclass(frozen=True)
class Route:
    """How a host is reached: what its row says."""

    proxy: str | None = None
    ca_bundle: Path | None = None
    client_certificate: Path | None = None
    known_hosts: tuple[str, ...] = ()


@lru_cache(maxsize=4096)
def _origin(*parts: Any) -> Origin:
    return Origin(*parts)  # One object for all questions: it is looked up by identity.


RouteTo = Callable[[str], Route]
"""Answers by the name of a Host row."""


def direct(_host: str) -> Route:
    """Return the way to a host about which nothing is configured."""
    return Route()


@dataclass(frozen=True)
class Contact:
    """One permitted contact. `addresses` are those to connect to, and no others; behind a proxy there are none.

    `secret` is for this host only: a contact with another host, after a redirect, has none.
    """

    url: UpstreamURL
    addresses: tuple[str, ...]
    proxy: str | None = None
    ca_bundle: Path | None = None
    client_certificate: Path | None = None
    known_hosts: tuple[str, ...] = ()
    secret: Secret | None = field(default=None, repr=False)

    @property
    def is_public(self) -> bool:
        """Say whether everybody may see what this server says. Of one inside, or behind a proxy, nobody knows."""
        return not self.proxy and all(guard.is_public(ip_address(each)) for each in self.addresses)

    @property
    def origin(self) -> Origin:
        """Return the other end, as connections are shared by."""
        return origin_of(self.url, self)


def origin_of(url: UpstreamURL, way: "Route | Contact") -> Origin:
    """Return the other end, as connections are shared by."""
    return _origin(url.scheme, url.bracketed, url.port, way.proxy, way.ca_bundle, way.client_certificate)


def to(url: str | UpstreamURL, *, route_to: RouteTo | None = None, secret: Secret | None = None) -> Contact:
    """Return the contact with a URL, as everything is now. Raise Blocked, or GitError where DNS has no answer."""
    target = accepted(url)
    route = (route_to or configured)(target.host)
    allowed = settings.ALLOW_PRIVATE_UPSTREAMS
    if route.proxy:
        guard.check_name(target, allowed=allowed)
    return Contact(
        url=target,
        addresses=() if route.proxy else guard.resolve(target, allowed=allowed),
        proxy=route.proxy,
        ca_bundle=route.ca_bundle,
        client_certificate=route.client_certificate,
        known_hosts=route.known_hosts,
        secret=secret,
    )


def accepted(url: str | UpstreamURL) -> UpstreamURL:
    """Return the URL in its normal form, or raise Blocked."""
    if isinstance(url, UpstreamURL):
        return url
    try:
        return urls.parse(url)
    except urls.BadURL as error:
        raise Blocked(str(error)) from None


def acceptable(url: str) -> UpstreamURL:
    """Return a URL that is to be mirrored, in its normal form. Raise Blocked for what no answer of DNS can mend."""
    target = accepted(url)
    guard.check_literal(target, allowed=settings.ALLOW_PRIVATE_UPSTREAMS)
    return target


def configured(host: str) -> Route:
    """Return the way to a host that its row describes; the direct one where there is no row."""
    row = Host.objects.filter(name=host).first()
    return route_of(row) if row else Route()


def known(host: Host) -> RouteTo:
    """Return the ways to all hosts, of which one was read already."""
    return lambda name: route_of(host) if name == host.name else configured(name)


def route_of(host: Host) -> Route:
    """Return the way that a row describes. Raise GitError where this worker lacks a file that it names."""
    files = [Path(name) if name else None for name in (host.ca_bundle, host.client_certificate)]
    for file in files:
        if file and not os.access(file, os.R_OK):
            raise GitError(
                Outcome.RESOURCE, f"{file}, which {host.name} is set up with, cannot be read on this worker"
            )
    return Route(
        proxy=host.proxy or None,
        ca_bundle=files[0],
        client_certificate=files[1],
        known_hosts=tuple(host.known_hosts),
    )
