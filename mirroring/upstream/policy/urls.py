"""Which upstream URLs are accepted. One policy for every path that leads to the network.

What is accepted means the same server to Python, git, curl and ssh, and is kept in one normal form. Which addresses a
server may have is asked at every contact, by `guard`.
"""

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import SplitResult, quote, unquote, urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443, "ssh": 22}
LOW_PORTS = {"http": (80, 443), "https": (80, 443), "ssh": (22, 443)}
"""The ports below 1024 that a scheme may have: on the others listen servers that speak something else."""

EXAMPLE = "https://git.example.org/team/project.git"
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]|%[01][0-9a-f]|%7f|%5c", re.IGNORECASE)
_LABEL = re.compile(r"\A(?!-)[a-z0-9-]{1,63}(?<!-)\Z")
_NUMBER = re.compile(r"\A(?:[0-9]+|0x[0-9a-f]*)\Z")
_USER = re.compile(r"\A[A-Za-z0-9_][A-Za-z0-9._+-]{0,63}\Z")
_SCP = re.compile(r"\A(?:(?P<user>[^@/:]*)@)?(?P<host>[^@/:\[\]]+):(?P<path>.*)\Z")
_PLAIN = re.compile(
    r"\A(https?)://([a-z0-9.-]+)(?::([1-9][0-9]{0,3}|[1-5][0-9]{4}))?((?:/[A-Za-z0-9_][A-Za-z0-9._-]*)+)\Z"
)
_UNUSUAL = re.compile(r"[^A-Za-z0-9._-]+")
_KEPT_IN_PATHS = "/%:@!$&'()*+,;=~-._"


class BadURL(ValueError):
    """The URL is not accepted; the message says why and what to write instead."""


@dataclass(frozen=True)
class UpstreamURL:
    """An accepted URL in its normal form, and what can be guessed from it.

    `host` is the name of the Host row: it carries the port if that is unusual. `hostname` and `port` are what to
    connect to; an IPv6 `hostname` has no brackets. `user` is the account of an SSH URL.
    """

    url: str
    scheme: str
    host: str
    hostname: str
    port: int
    user: str
    path: str

    @property
    def suggested_group(self) -> str:
        """Return the name of a group that the path suggests."""
        return _as_name((_segments(self.path)[-2:-1] or [""])[0]) or "default"

    @property
    def suggested_name(self) -> str:
        """Return the name that the path suggests."""
        return _as_name(_segments(self.path)[-1])

    @property
    def bracketed(self) -> str:
        """Return the host name as it stands in URLs."""
        return bracketed(self.hostname)


def parse(url: str) -> UpstreamURL:
    """Return the normal form of an upstream URL, or raise BadURL."""
    if found := _PLAIN.match(url):
        return _of_plain(*found.groups())
    url = url.strip()
    if not url or url.startswith("-"):
        raise BadURL(f"Give the URL of a repository, for example {EXAMPLE}")
    if _UNSAFE.search(url):
        raise BadURL("The URL holds a space, a backslash or a control character: write it without")
    if "://" in url:
        return _of_url(_split(url))
    found = _SCP.match(url)
    if found is None or found["path"].startswith(":"):
        shown = "It" if "@" in url else repr(url)  # What stands before an @ may be a password.
        raise BadURL(f"{shown} has no scheme: write https://HOST/PATH (local paths are not mirrored)")
    return _of_scp(found["user"], found["host"], found["path"])


def bracketed(hostname: str) -> str:
    """Return a host name or address as it stands in URLs."""
    return f"[{hostname}]" if ":" in hostname else hostname


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  (reading it checks it)
    except ValueError as error:
        raise BadURL(f"The URL cannot be read: {error}") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise BadURL(f"The scheme {parts.scheme}:// is not accepted: use https://, http:// or ssh://")
    if parts.query or parts.fragment:
        raise BadURL("The URL has a query or fragment: write it without what follows the '?' or '#'")
    return parts


def _of_plain(scheme: str, name: str, number: str | None, path: str) -> UpstreamURL:
    """Return a URL that has nothing in it that could be read in two ways: most have not, and are read often."""
    port = DEFAULT_PORTS[scheme] if number is None else int(number)
    hostname = _checked_host(name)
    _check_port(scheme, port)
    host = _with_port(hostname, port, scheme=scheme)
    return UpstreamURL(f"{scheme}://{host}{path}", scheme, host, hostname, port, "", path)


def _of_url(parts: SplitResult) -> UpstreamURL:
    scheme, userinfo = parts.scheme, parts.netloc.rpartition("@")[0]
    if scheme != "ssh" and "@" in parts.netloc:
        raise BadURL(
            "The URL holds a user name or password: write it without, they would end in logs and backups"
        )
    user = _checked_user(userinfo) if scheme == "ssh" else ""
    hostname = _checked_host(parts.hostname or "")
    port = DEFAULT_PORTS[scheme] if parts.port is None else parts.port
    _check_port(scheme, port)
    if scheme == "ssh":
        _check_ssh_path(unquote(parts.path))
    path = "/" + quote(parts.path.strip("/"), safe=_KEPT_IN_PATHS)
    host = _with_port(hostname, port, scheme=scheme)
    account = f"{user}@" if user else ""
    return _named(
        f"{scheme}://{account}{host}{path}", scheme, host, hostname=hostname, port=port, user=user, path=path
    )


def _of_scp(user: str | None, host: str, path: str) -> UpstreamURL:
    """Return `user@host:path`, whose path begins at the home folder of the account, as it is: no URL says the same."""
    if user is None:
        raise BadURL(f"'{host}:...' has no scheme: write https://HOST/PATH, or git@HOST:PATH for SSH")
    if not path.isascii():
        raise BadURL("The path has other characters than ASCII: write ssh://git@HOST/PATH with %.. for them")
    _check_ssh_path(path)
    user, hostname, path = _checked_user(user), _checked_host(host), path.rstrip("/")
    return _named(
        f"{user}@{hostname}:{path}", "ssh", hostname, hostname=hostname, port=22, user=user, path=path
    )


def _check_ssh_path(path: str) -> None:
    """Refuse a path in which git looks for the host: it does so behind every "@[" that it finds, decoded."""
    if "@[" in path:
        raise BadURL("The path of an SSH URL cannot hold '@[': use https://, or rename the repository")


def _checked_user(userinfo: str) -> str:
    if ":" in userinfo:
        raise BadURL(
            "The URL holds a user name or password: write only the account, for example ssh://git@HOST/PATH"
        )
    if not userinfo:
        raise BadURL("The URL names no account: write ssh://git@HOST/PATH or git@HOST:PATH")
    if not _USER.match(userinfo):
        raise BadURL("The account before the '@' cannot be used: letters, digits, '.', '_', '+' and '-' can")
    return userinfo


@lru_cache(maxsize=4096)
def _checked_host(name: str) -> str:
    """Return the host in its one spelling. Spellings of addresses on which programs differ are refused."""
    name = name.lower()
    if ":" in name:
        try:
            return ipaddress.IPv6Address(name).compressed if "%" not in name else _no_host()
        except ValueError:
            _no_host()
    if not name.isascii():
        raise BadURL(
            f"The URL has no usable host name: names in other scripts are written as xn--...{_idna(name)}"
        )
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.match(label) for label in labels):
        _no_host()
    if _NUMBER.match(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise BadURL(
                "The host is a number: write an address as four decimal numbers, like 192.0.2.1"
            ) from None
    return name


def _no_host() -> str:
    raise BadURL(
        "The URL has no usable host name: write https://HOST/PATH, names in other scripts as xn--..."
    )


def _idna(name: str) -> str:
    """Return the spelling to write instead, if there is one."""
    try:
        return f", here {name.encode('idna').decode()}"
    except UnicodeError:
        return ""


def _check_port(scheme: str, port: int) -> None:
    if port < 1024 and port not in LOW_PORTS[scheme]:
        usual = " or ".join(str(each) for each in LOW_PORTS[scheme])
        raise BadURL(f"Port {port} is not accepted for {scheme}://: use {usual}, or one from 1024 on")
    if port == 9418:
        raise BadURL("Port 9418 speaks the git:// protocol, which nothing protects: use https:// or ssh://")


def _with_port(hostname: str, port: int, *, scheme: str) -> str:
    host = bracketed(hostname)
    return host if port == DEFAULT_PORTS[scheme] else f"{host}:{port}"


def _named(
    url: str, scheme: str, host: str, *, hostname: str, port: int, user: str, path: str
) -> UpstreamURL:
    """Return the URL, if names can be made of its path."""
    segments = _segments(path)
    if not segments or any(segment in {".", ".."} or segment.startswith("-") for segment in segments):
        raise BadURL(
            "The URL names no repository: write https://HOST/PATH, without '.', '..' or a leading '-'"
        )
    if not _as_name(segments[-1]):
        raise BadURL("No name can be made from the URL's last part: give one")
    return UpstreamURL(url, scheme, host, hostname, port, user, path)


def _segments(path: str) -> list[str]:
    return [unquote(segment) for segment in path.split("/") if segment]


def _as_name(segment: str) -> str:
    name, before = _UNUSUAL.sub("-", segment)[:200], ""
    while name != before:
        before, name = name, name.removesuffix(".git").strip(".-")
    return name
