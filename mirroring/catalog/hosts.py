"""What people do to hosts: how they are reached, and which SSH keys are theirs."""

import logging
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from django.db import transaction

from mirroring.catalog.adding import hosts_named
from mirroring.catalog.errors import Invalid, NothingToChange, Unknown
from mirroring.models import Host
from mirroring.upstream.access import contact, ssh
from mirroring.upstream.errors import GitError
from mirroring.upstream.policy import urls

logger = logging.getLogger(__name__)


def find_host(name: str) -> Host:
    """Return a host by its name, or raise Unknown."""
    host = Host.objects.filter(name=name).first()
    if host is None:
        raise Unknown(f"There is no host {name!r}: `manage.py host list` shows those there are")
    return host


def edit_host(
    name: str,
    *,
    by: str,
    proxy: str | None = None,
    ca_bundle: str | None = None,
    client_certificate: str | None = None,
    max_slots: str | None = None,
) -> Host:
    """Change how a host is reached; None leaves a field alone, "" empties it. Raise Invalid or NothingToChange.

    A host is made where it is missing, so that it can be set up before its first mirror.
    """
    given = {"proxy": proxy, "ca_bundle": ca_bundle, "client_certificate": client_certificate}
    values: dict[str, str | int | None] = {
        field: value for field, value in given.items() if value is not None
    }
    if max_slots is not None:
        values["max_slots"] = _checked_slots(max_slots)
    if not values:
        raise NothingToChange("Nothing to change: say what, for example --proxy http://proxy.example:3128")
    if proxy:
        values["proxy"] = _checked_proxy(proxy)
    for file in (ca_bundle, client_certificate):
        if file:
            _check_file(file)
    host = hosts_named([_checked_name(name)])[name.lower()]
    for field, value in values.items():
        setattr(host, field, value)
    host.save(update_fields=list(values))
    logger.info("host changed", extra={"host": host.name, "by": by, **values})
    return host


def stop_cooling(name: str, *, by: str, wake: Callable[[], None]) -> Host:
    """Have a host that is left alone tried again now, with one import. Raise NothingToChange."""
    host = find_host(name)
    if not Host.objects.filter(pk=host.pk, cooling_until__isnull=False).update(cooling_until=None, slots=1):
        raise NothingToChange(f"{name} is not left alone: its mirrors are imported as they are due")
    logger.info("host is tried again", extra={"host": host.name, "by": by})
    transaction.on_commit(wake)
    return find_host(name)


def _checked_slots(text: str) -> int | None:
    """Return a number of slots, or None where there is to be no bound."""
    if text and not text.isdecimal():
        raise Invalid(f"{text!r} is no number of imports: give 0 to have none start, or none for no bound")
    return int(text) if text else None


def offered_keys(name: str) -> list[str]:
    """Return the SSH keys that the host shows now, as "type base64". They are not trusted by that. Raise Invalid."""
    url = f"ssh://git@{_checked_name(name)}/any"
    try:
        return ssh.scan(contact.to(url))
    except GitError as error:
        raise Invalid(error.detail) from None


def trust(name: str, *, by: str, fingerprint: str = "", key: str = "") -> Host:
    """Pin one SSH key of a host: the one it shows now that has this fingerprint, or the one given. Raise Invalid."""
    if key:
        key = " ".join(key.split()[:2])
        if not ssh.is_key(key):
            raise Invalid("That is no public key: give its type and text, like 'ssh-ed25519 AAAAC3...'")
    else:
        shown = {ssh.fingerprint(each): each for each in offered_keys(name)}
        if fingerprint not in shown:
            raise Invalid(f"{name} shows no key with that fingerprint now. It shows: {', '.join(shown)}")
        key = shown[fingerprint]
    return _change_keys(name, lambda kept: [*kept, key] if key not in kept else kept, by=by)


def distrust(name: str, *, fingerprint: str, by: str) -> Host:
    """Pin a key of a host no more. Raise Unknown."""
    if fingerprint not in {ssh.fingerprint(key) for key in find_host(name).known_hosts}:
        raise Unknown(f"{name} has no pinned key with that fingerprint: see `manage.py host show {name}`")
    return _change_keys(name, lambda kept: [k for k in kept if ssh.fingerprint(k) != fingerprint], by=by)


def _change_keys(name: str, change: Callable[[list[str]], list[str]], *, by: str) -> Host:
    with transaction.atomic():
        made = hosts_named([_checked_name(name)])[name.lower()]
        host = Host.objects.select_for_update().get(pk=made.pk)
        host.known_hosts = change(list(host.known_hosts))
        host.save(update_fields=["known_hosts"])
    pinned = [ssh.fingerprint(key) for key in host.known_hosts]
    logger.info("host keys changed", extra={"host": host.name, "by": by, "pinned": pinned})
    return host


def _checked_name(name: str) -> str:
    """Return the name of a Host row as URLs make it, or raise Invalid."""
    try:
        found = urls.parse(f"ssh://git@{name}/any")
    except urls.BadURL as error:
        raise Invalid(f"{name!r} cannot be the name of a host. {error}") from None
    if found.host != name.lower():
        raise Invalid(f"{name!r} cannot be the name of a host: write {found.host}")
    return found.host


def _checked_proxy(text: str) -> str:
    """Return the URL of a proxy in its normal form. A password would be readable in the row: it is refused."""
    wanted = "write http://HOST:PORT, without user name and path"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise Invalid(f"The proxy cannot be read: {wanted}") from None
    bare = not parts.username and not parts.password and parts.path in {"", "/"} and not parts.query
    if parts.scheme != "http" or not parts.hostname or not bare or not parts.hostname.isascii():
        raise Invalid(f"The proxy cannot be used: {wanted}")
    return f"http://{urls.bracketed(parts.hostname)}:{port or 80}"


def _check_file(name: str) -> None:
    path = Path(name)
    if not path.is_absolute():
        raise Invalid(f"{name} is no absolute path: every worker looks for the file there")
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, ValueError):
        raise Invalid(
            f"{name} cannot be read here as text: it has to be there, and on every worker"
        ) from None
    if "-----BEGIN " not in text:
        raise Invalid(f"{name} is no PEM file: certificates in PEM begin with -----BEGIN CERTIFICATE-----")
