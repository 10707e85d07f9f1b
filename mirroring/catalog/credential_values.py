"""What a credential is made of, checked before it is sealed."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from mirroring.catalog.errors import Invalid
from mirroring.logs import hide, redact
from mirroring.models import Credential, CredentialKind
from mirroring.rules import key_pairs

MAX_SECRET = 16 * 1024
MAX_PASSWORD = 4096
"""Characters. A pipe takes it several times over without anybody reading."""

ANY_USER = "git"
"""The user name that goes with a token: its upstream looks at the token only."""

GITHUB_API = "https://api.github.com"
MAX_HOSTS = 50
_HOST = re.compile(r"\A(?:(?!-)[a-z0-9.-]{1,253}(?<![-.])|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?\Z")


@dataclass(frozen=True)
class Given:
    """What somebody gives for a credential. `secret`: password, token or private key; "" has an SSH key made."""

    secret: str = field(default="", repr=False)
    hosts: tuple[str, ...] = ()
    username: str = ""
    app_id: str = ""
    installation_id: str = ""
    api_url: str = ""
    allow_http: bool | None = None
    expires_at: datetime | None = None


def fill(row: Credential, given: Given) -> None:
    """Put what was given into a row, the secret sealed. Raise Invalid."""
    if len(given.secret) > MAX_SECRET:
        raise Invalid(f"The secret is longer than {MAX_SECRET} characters: that is no password and no key")
    hide(given.secret.strip())
    match CredentialKind(row.kind):
        case CredentialKind.PASSWORD:
            _fill_password(row, given)
        case CredentialKind.SSH_KEY:
            _fill_ssh_key(row, given)
        case CredentialKind.GITHUB_APP:
            _fill_github_app(row, given)


def check_hosts(hosts: Iterable[str], *, kind: CredentialKind) -> list[str]:
    """Return the hosts as mirrors name theirs: the port only where it is not the usual one. Raise Invalid."""
    usual = ":22" if kind is CredentialKind.SSH_KEY else ":443"
    wanted = sorted({host.strip().lower().removesuffix(usual) for host in hosts})
    for host in wanted:
        if not _HOST.match(host):
            raise Invalid(
                f"{redact(host)[:260]!r} is no host: write git.example.org, or git.example.org:8443"
            )
    if len(wanted) > MAX_HOSTS:
        raise Invalid(f"At most {MAX_HOSTS} hosts can share a credential: make another")
    return wanted


def _fill_password(row: Credential, given: Given) -> None:
    password = given.secret.rstrip("\r\n")
    if not password:
        raise Invalid("The password or token is empty: give it on standard input, by a prompt or in a file")
    if len(password) > MAX_PASSWORD or re.search(r"[\x00-\x1f\x7f]", password):
        raise Invalid(
            f"A password is one line of at most {MAX_PASSWORD} characters, without control characters"
        )
    row.username = _check_username(given.username or row.username or ANY_USER)
    row.set_secret(password=password)


def _check_username(username: str) -> str:
    if redact(username) != username:
        raise Invalid("The user name looks like a token: it would be shown. Give the token as the password")
    if len(username) > 200 or not username.isprintable() or ":" in username:
        raise Invalid("A user name has at most 200 characters, no control characters and no colon")
    return username


def _fill_ssh_key(row: Credential, given: Given) -> None:
    try:
        pair = key_pairs.read_ssh_key(given.secret) if given.secret.strip() else key_pairs.new_ssh_key()
    except key_pairs.BadPrivateKey as error:
        raise Invalid(str(error)) from None
    _set_pair(row, pair)


def _fill_github_app(row: Credential, given: Given) -> None:
    app, installation = given.app_id or row.app_id, given.installation_id or row.installation_id
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", app):
        raise Invalid("Give the app: its number or client id, from its settings page")
    if not re.fullmatch(r"[0-9]{1,20}", installation):
        raise Invalid("Give the number of the installation: the last part of its address at GitHub")
    try:
        pair = key_pairs.read_app_key(given.secret)
    except key_pairs.BadPrivateKey as error:
        raise Invalid(str(error)) from None
    allow_http = row.allow_http if given.allow_http is None else given.allow_http
    row.api_url = _check_api(given.api_url or row.api_url or GITHUB_API, allow_http=allow_http)
    row.app_id, row.installation_id, row.username = app, installation, "x-access-token"
    _set_pair(row, pair)


def _check_api(url: str, *, allow_http: bool) -> str:
    schemes = "https?" if allow_http else "https"
    if len(url) > 500 or not re.fullmatch(
        rf"{schemes}://[A-Za-z0-9.-]+(:[0-9]{{1,5}})?(/[A-Za-z0-9._/-]*)?", url
    ):
        raise Invalid(f"That is no address of GitHub's API: write {GITHUB_API} or https://HOST/api/v3")
    return url.rstrip("/")


def _set_pair(row: Credential, pair: key_pairs.KeyPair) -> None:
    hide(pair.private)
    row.public_key, row.fingerprint = pair.public, pair.fingerprint
    row.set_secret(private_key=pair.private)
