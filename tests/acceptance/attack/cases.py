"""What is done to the product, as tables: one line is one case, with what may come of it.

A case is a mirror with a URL. At the door (`mirror add`) the URL is taken or refused; whatever the door says, the
mirror is then forced into the database, as a restored backup or an older version could have it, and the workers are
let loose on it. `ends` are the outcome classes that are right; `fresh` says that it must, or must not, get imported.
"""

from dataclasses import dataclass, field
from pathlib import Path

FAILED = frozenset(
    {"transient", "auth", "gone", "hung", "resource", "corrupt", "blocked", "too_big", "emptied", "renamed"}
)
FINE = frozenset({"changed", "unchanged"})
BLOCKED = frozenset({"blocked"})
NO_ANSWER = frozenset({"transient", "hung", "gone"})
BOUNDED = FAILED - {"blocked", "emptied"}


@dataclass(frozen=True)
class Case:
    """One case. `repository` is what a fresh mirror must equal; `rounds`: how often it is imported."""

    name: str
    url: str
    ends: frozenset[str]
    door: str = "any"  # "taken" or "refused"
    repository: str = ""
    rounds: int = 1
    credential: str = ""
    tags: frozenset[str] = field(default_factory=frozenset)

    @property
    def group(self) -> str:
        """Return the first part of the name."""
        return self.name.partition("/")[0]


_EXPANSIVE = "http://hub.example/" + "a" * 3_000 + ".git"

# Where the text alone is enough to refuse: nobody may even ask DNS for it.
URLS = (
    "", " ", "-", "--upload-pack=touch${IFS}/tmp/x", "-oProxyCommand=touch", "/etc", "./etc", "../x.git", "C:\\x",
    "file:///etc", "file://127.0.0.1/etc", "FILE:///etc", "ext::sh -c touch% /tmp/x", "ext::sh", "fd::7", "fd::7,8/x",
    "remote-curl::http://127.0.0.1/x", "hg::http://127.0.0.1/x", "testgit::/etc", "git://127.0.0.1/x.git",
    "git://hub.example/x.git", "ftp://hub.example/x", "ftps://hub.example/x", "gopher://127.0.0.1:6379/_x",
    "dict://127.0.0.1:6379/x", "ldap://127.0.0.1/x", "tftp://127.0.0.1/x", "scp://git@hub.example/x",
    "javascript:alert(1)", "data:text/plain,x", "bundle:///etc/x", "ssh+git://git@hub.example/x",
    "http:/127.0.0.1/x.git", "http:127.0.0.1/x.git", "http:///x.git", "http://", "https://", "http://:80/x.git",
    "//127.0.0.1/x.git", "http://./x.git", "http://../x.git", "http://-hub.example/x.git", "http://hub.example-/x.git",
    "http://hub..example/x.git", "http://hub_x.example/x.git", "http://*.example/x.git", _EXPANSIVE,
    # Users, passwords, and hosts that hide behind them.
    "http://user:pw@hub.example/x.git", "http://user@hub.example/x.git", "http://:pw@hub.example/x.git",
    "http://@hub.example/x.git", "http://hub.example@127.0.0.1/x.git", "http://hub.example:80@127.0.0.1/x.git",
    "http://hub.example#@127.0.0.1/x.git", "http://hub.example?@127.0.0.1/x.git", "http://hub.example\\@127.0.0.1/x",
    "http://127.0.0.1\\.hub.example/x.git", "http://127.0.0.1%2f@hub.example/x", "http://127.0.0.1%5c@hub.example/x",
    "http://hub.example%00.127.0.0.1/x", "http://hub.example%0d%0aHost:%20x/x.git", "http://a@b@127.0.0.1/x.git",
    "ssh://git:pw@hub.example/x", "ssh://hub.example/x.git", "ssh://-oProxyCommand=touch@hub.example/x",
    "ssh://git@-oProxyCommand=touch/x", "ssh://-oProxyCommand=touch/x", "-lfoo@hub.example:x", "git@-oFoo=bar:x",
    "git@hub.example:-x.git", "git@hub.example:", "git@:x", "@hub.example:x", "hub.example:x", "git@hub.example::x",
    # Control characters, white space, tricks of paths.
    "http://hub.example/x.git\nHost: inner", "http://hub.example/x\r\nX: y", "http://hub.example/x\x00y.git",
    "http://hub.example/x%00y.git", "http://hub.example/x%0d%0aX:%20y", "http://hub.example/%0aX", "http://hub\t.example/x",
    "http://hub.example /x.git", "http://hub.example/a b.git", "http://hub.example/\x7f.git", "http://hub.example/x\\y",
    "http://hub.example/../x.git", "http://hub.example/%2e%2e/x.git", "http://hub.example/.", "http://hub.example/",
    "http://hub.example", "http://hub.example/-x.git", "http://hub.example/x.git?service=y", "http://hub.example/x#y",
    # Ports where something else listens, and none at all.
    "http://hub.example:0/x.git", "http://hub.example:22/x.git", "http://hub.example:25/x.git",
    "http://hub.example:99999/x.git", "http://hub.example:-1/x.git", "http://hub.example:8o/x.git",
    "https://hub.example:53/x.git", "http://hub.example:9418/x.git", "ssh://git@hub.example:25/x",
    # Names in other scripts and in forms that some programs read as something else.
    "http://ⓛocalhost/x.git", "http://127。0。0。1/x.git", "http://①②⑦.0.0.1/x.git", "http://hub。example/x.git",
    "http://hüb.example/x.git", "http://xn--.example/x.git\u202e", "http://hub.example\u2044x/y.git",
)  # fmt: skip

# Inner addresses in all their spellings: refused by what they are, however they are written.
INNER = (
    "127.0.0.1", "127.0.0.1:80", "127.0.0.1:8080", "127.8.8.8", "localhost", "LOCALHOST", "localhost.", "a.localhost",
    "127.1", "127.0.1", "0", "0.0.0.0", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001", "2130706433",
    "127.0.0.1.", "127.000.000.001", "00000127.0.0.1", "0x7f.1", "[::1]", "[::1]:8080", "[0:0:0:0:0:0:0:1]", "[::]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]", "[2001:0:7f00:1::1]", "[fe80::1]", "[fe80::1%25lo]", "[fe80::1%lo]", "[fd12:3456::7]",
    "[fd00:ec2::254]", "[ff02::1]", "[2001:db8::1]", "10.1.2.3", "10.1.2.3:8080", "172.16.5.5", "172.31.255.255",
    "192.168.7.7", "169.254.169.254", "169.254.0.1", "100.64.1.1", "192.0.0.8", "192.0.2.1", "198.18.0.1",
    "198.51.100.1", "203.0.113.9", "224.0.0.1", "240.0.0.1", "255.255.255.255", "2852039166", "0xa9fea9fe",
    "168.63.129.16", "[::ffff:a9fe:a9fe]", "[::ffff:10.1.2.3]",
)  # fmt: skip


def url_cases() -> list[Case]:
    """Return the cases of the URL matrix."""
    texts = [*URLS, *(f"http://{host}/x.git" for host in INNER)]
    texts += [f"https://{host}/x.git" for host in INNER[::7]]
    texts += [f"ssh://git@{host}/x.git" for host in INNER[::5]]
    texts += ["git@127.0.0.1:x.git", "git@localhost:x.git", "git@10.1.2.3:x.git", "git@[::1]:x.git"]
    return [Case(f"url/{number:03}", text, _ends(text), door="refused") for number, text in enumerate(texts)]


def _ends(text: str) -> frozenset[str]:
    """Return how a mirror may end whose URL should never have got past the door."""
    if len(text) > 2_000 or "\0" in text:
        return FAILED  # No database holds this; what is forced into it is cut, and then it is another URL.
    # Names below localhost are asked of DNS, which may have none; an answer would be judged as any other.
    return BLOCKED | NO_ANSWER if "a.localhost" in text else BLOCKED


def dns_cases(zone_of: dict[str, str], *, good: Path) -> list[Case]:
    """Return a case for each treacherous name; `zone_of` gives a name's kind: inner, changing, dead or fair."""
    ends = {"inner": BLOCKED, "changing": BLOCKED | FINE | NO_ANSWER, "dead": NO_ANSWER, "fair": FINE}
    return [
        Case(
            f"dns/{name.partition('.')[0]}",
            f"http://{name}/good/x.git",
            ends[kind],
            repository=str(good) if kind in {"changing", "fair"} else "",
            rounds=4 if kind == "changing" else 1,
        )
        for name, kind in zone_of.items()
    ]


def of_scene(name: str, ends: frozenset[str], *, repository: Path | str = "", **more: object) -> Case:
    """Return the case of a deed at the hub; each has a host name of its own, so that none pays for another."""
    group, _, word = name.partition("/")
    url = f"http://{word}.{group}.hub.example/{group}-{word}/x.git"
    return Case(name, url, ends, repository=str(repository), **more)  # type: ignore[arg-type]
