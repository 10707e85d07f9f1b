"""Following redirects, for git never does: hop by hop, each under the policy that the first URL was under."""

import asyncio
import re
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from mirroring.rules.outcomes import Outcome
from mirroring.upstream.access import contact
from mirroring.upstream.access.contact import Contact, RouteTo
from mirroring.upstream.access.credentials import Secret, SecretKind
from mirroring.upstream.client.connections import Pool
from mirroring.upstream.client.dialing import Unsupported
from mirroring.upstream.client.http1 import Head
from mirroring.upstream.client.protocol import MAX_BYTES, BadAnswer
from mirroring.upstream.client.target import Target, authorization
from mirroring.upstream.errors import Blocked, GitError
from mirroring.upstream.policy import urls
from mirroring.upstream.policy.urls import UpstreamURL

MAX_HOPS = 3
ANSWER_SECONDS = 30.0
PERMANENT = frozenset({301, 308})
REDIRECTS = PERMANENT | {302, 303, 307}
ENDING = "/info/refs?service=git-upload-pack"
_MET = re.compile(r"returned error: 30[12378]\b")


@dataclass(frozen=True)
class Followed:
    """Where redirects led, and whether every one of them was a permanent one."""

    contact: Contact
    permanent: bool


def follow(first: Contact, *, route_to: RouteTo) -> Followed:
    """Ask for the repository and follow at most MAX_HOPS redirects. Raise Blocked or GitError."""
    current, permanent = first, True
    for _ in range(MAX_HOPS + 1):
        head = ask(current)
        if head.status not in REDIRECTS:
            return Followed(current, permanent=permanent and current is not first)
        permanent = permanent and head.status in PERMANENT
        url = hop(current.url, head.fields.get(b"location", b"").decode("latin-1"))
        kept = current.secret if same_host(current.url, url) else None
        current = contact.to(url, route_to=route_to, secret=kept)
    raise GitError(
        Outcome.TRANSIENT, f"the upstream redirects more than {MAX_HOPS} times: give its final URL"
    )


def met(error: GitError) -> bool:
    """Say whether git failed because it met a redirect."""
    return bool(_MET.search(error.detail))


def same_host(one: UpstreamURL, other: UpstreamURL) -> bool:
    """Say whether what is meant for the server of one URL may be shown to that of another, after a redirect."""
    return (one.hostname, one.host) == (other.hostname, other.host)


def hop(current: UpstreamURL, location: str) -> UpstreamURL:
    """Return the repository that a redirect of `current` names. Pure; raise Blocked, or GitError for a page."""
    try:
        parts = urlsplit(urljoin(current.url + ENDING, location))
    except ValueError:
        raise _page() from None
    path, found, query = parts.path.rpartition("/info/refs")
    if not location or not found or query or parts.query not in {"", ENDING.partition("?")[2]}:
        raise _page()
    try:
        target = urls.parse(f"{parts.scheme}://{parts.netloc}{path}")
    except urls.BadURL as error:
        raise Blocked(f"the upstream redirects to a URL that is not accepted. {error}") from None
    if target.scheme == "ssh" or (current.scheme == "https" and target.scheme == "http"):
        raise Blocked(
            f"the upstream redirects from {current.scheme}:// to {target.scheme}://, which is not followed"
        )
    return target


def _page() -> GitError:
    return GitError(
        Outcome.GONE, "the upstream redirects to a page that is no repository: see that the URL is right"
    )


def ask(current: Contact, *, seconds: float = ANSWER_SECONDS) -> Head:
    """Return the head of the answer to git's first request. Raise GitError."""
    try:
        return asyncio.run(_exchange(current, seconds))
    except TimeoutError:
        raise GitError(Outcome.HUNG, "timed out: the upstream did not answer where it redirects to") from None
    except (OSError, BadAnswer, Unsupported) as error:
        raise GitError(Outcome.TRANSIENT, f"could not follow a redirect: {error}") from None


async def _exchange(current: Contact, seconds: float) -> Head:
    pool, read = Pool(), 0

    def sink(data: bytes) -> None:
        nonlocal read
        read += len(data)
        if read > MAX_BYTES:
            raise BadAnswer("the answer is too long")

    try:
        async with asyncio.timeout(seconds):
            target = Target(current.origin, current.url.path, authorization=_authorization(current.secret))
            request = target.request(ending=ENDING)
            return await pool.exchange(target.origin, request, lambda: sink, dial=lambda: current.addresses)
    finally:
        pool.close()


def _authorization(secret: Secret | None) -> bytes:
    if secret is None or secret.kind is not SecretKind.BASIC:
        return b""
    return authorization(secret.username, secret.password)
