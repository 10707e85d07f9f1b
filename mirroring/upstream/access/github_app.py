"""Installation tokens of a GitHub App: a signed request to GitHub's API, answered by a token that lives an hour.

Source: GitHub's documentation, "Generating a JSON Web Token for a GitHub App" and "Generating an installation access
token for a GitHub App". A request is signed by RS256 and is good for ten minutes at most; a token reads contents only.
"""

import asyncio
import base64
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from mirroring.logs import hide
from mirroring.rules.outcomes import Outcome
from mirroring.upstream.access import contact
from mirroring.upstream.access.contact import Contact
from mirroring.upstream.client.connections import Pool
from mirroring.upstream.client.dialing import Unsupported
from mirroring.upstream.client.http1 import Head
from mirroring.upstream.client.protocol import BadAnswer
from mirroring.upstream.errors import CredentialUnusable, GitError
from mirroring.upstream.git.process import sanitize

TOKEN_LIFE = timedelta(hours=1)
SKEW = timedelta(seconds=60)
REQUEST_LIFE = timedelta(minutes=9)
ANSWER_SECONDS = 30.0
LONGEST_ANSWER = 64 * 1024
BODY = b'{"permissions":{"contents":"read"}}'
REFUSALS = frozenset({401, 403, 404, 422})


@dataclass(frozen=True)
class Installation:
    """An app where it is installed, and the API that knows it."""

    app_id: str
    number: str
    api_url: str


@dataclass(frozen=True)
class Token:
    """An installation token in clear."""

    text: str = field(repr=False)
    expires_at: datetime


def new_token(installation: Installation, *, private_key: str, now: datetime) -> Token:
    """Return a new token. Raise CredentialUnusable if GitHub refuses, GitError if it cannot be asked now."""
    url = f"{installation.api_url}/app/installations/{installation.number}/access_tokens"
    target = contact.to(url)
    signed = signed_request(installation.app_id, private_key=private_key, now=now)
    hide(signed)
    head, answer = _post(target, authorization=f"Bearer {signed}")
    if head.status != 201:
        raise _refusal(head, answer, target)
    try:
        said = json.loads(answer)
        token = Token(str(said["token"]), datetime.fromisoformat(said["expires_at"]))
        if not token.text.isascii() or not token.text.isprintable() or token.expires_at.tzinfo is None:
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise GitError(Outcome.TRANSIENT, f"the API at {target.url.host} answers with no token") from None
    return token


def signed_request(app_id: str, *, private_key: str, now: datetime) -> str:
    """Return the JSON Web Token by which an app shows who it is."""
    claims = {
        "iat": int((now - SKEW).timestamp()),  # GitHub's clock may be behind ours.
        "exp": int((now + REQUEST_LIFE).timestamp()),
        "iss": app_id,
    }
    parts = [_encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims)]
    key = serialization.load_pem_private_key(private_key.encode(), password=None)
    assert isinstance(key, rsa.RSAPrivateKey)  # noqa: S101  (asked when it was given)
    signature = key.sign(".".join(parts).encode(), padding.PKCS1v15(), hashes.SHA256())
    return ".".join([*parts, _encoded(signature)])


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _post(target: Contact, *, authorization: str) -> tuple[Head, bytes]:
    try:
        return asyncio.run(_exchange(target, authorization=authorization))
    except TimeoutError:
        raise GitError(Outcome.HUNG, f"timed out: the API at {target.url.host} did not answer") from None
    except (OSError, BadAnswer, Unsupported) as error:
        text = f"the API at {target.url.host} cannot be asked: {sanitize(str(error))}"
        raise GitError(Outcome.TRANSIENT, text) from None


async def _exchange(target: Contact, *, authorization: str) -> tuple[Head, bytes]:
    """Send the one request. A redirect is not followed: it would take the signature along."""
    pool, answer = Pool(), bytearray()

    def sink(data: bytes) -> None:
        answer.extend(data)
        if len(answer) > LONGEST_ANSWER:
            raise BadAnswer("the answer is too long")

    headers = (
        f"POST {target.url.path} HTTP/1.1",
        f"Host: {target.origin.authority}",
        f"Authorization: {authorization}",
        "Accept: application/vnd.github+json",
        "X-GitHub-Api-Version: 2022-11-28",
        "User-Agent: mirroring",
        "Content-Type: application/json",
        f"Content-Length: {len(BODY)}",
    )
    request = "\r\n".join([*headers, "", ""]).encode() + BODY
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            head = await pool.exchange(target.origin, request, lambda: sink, dial=lambda: target.addresses)
    finally:
        pool.close()
    return head, bytes(answer)


def _refusal(head: Head, answer: bytes, target: Contact) -> GitError:
    try:
        said = sanitize(str(json.loads(answer)["message"]))[:200]
    except (ValueError, KeyError, TypeError):
        said = "it says nothing more"
    text = f"the API at {target.url.host} gives no installation token: {head.status} ({said})"
    slow_down = b"retry-after" in head.fields or head.fields.get(b"x-ratelimit-remaining") == b"0"
    if head.status in REFUSALS and not slow_down:
        return CredentialUnusable(
            f"{text}. See the app's key, its installation and its permission to read contents"
        )
    return GitError(Outcome.TRANSIENT, text)
