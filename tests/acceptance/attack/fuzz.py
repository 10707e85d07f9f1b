"""URLs that nobody would think of, from a seed: pieces of good and evil ones, put together and broken."""

from collections.abc import Iterator
from random import Random

from tests.acceptance.attack.cases import INNER, URLS

SCHEMES = (
    "http",
    "https",
    "ssh",
    "HTTP",
    "hTTps",
    "file",
    "git",
    "ext",
    "http+ssh",
    "",
    "ftp",
    "http\t",
    "ht\ntp",
)
AFTER = ("://", "://", "://", "://", ":", ":/", ":///", "::", "//", ":\\\\", "")
USERS = (
    "",
    "",
    "",
    "",
    "git@",
    "user:pw@",
    "hub.example@",
    "-x@",
    "@",
    "a@b@",
    "git%40",
    "127.0.0.1:80@",
    "%00@",
)
HOSTS = ("hub.example", "other.example", "HUB.example", "hub.example.", "inner.example", "11.0.0.10", "[2600::1]",
         "a_b", "xn--bcher-kva.example", "hub.example%2e", "hub%2eexample", "1.1", "0x0b00000a", "11.10",
         "a" * 64 + ".example", *INNER)  # fmt: skip
PORTS = (
    "",
    "",
    "",
    ":80",
    ":443",
    ":22",
    ":8080",
    ":0",
    ":",
    ":80:80",
    ":6379",
    ":065535",
    ":+80",
    ":\u0668\u0660",
)
PATHS = ("/x.git", "/a/b.git", "/good/x.git", "/x", "//x", "/x//y", "/%41.git", "/x%2fy", "/..", "/a/../b", "/-x",
         "/é", "/x;y", "/~git/x", "/x@y:z", ":x.git", "/x?y", "/x#y", "/%zz", "/x%", "/\u202e")  # fmt: skip
NOISE = ("\t", "\n", "\r", "\0", " ", "\\", "@", "#", "?", "/", ":", "%", "%00", "%0a", "%2f", "[", "]",
         "\u3002", "\uff0f", "\u2100", "\ufe64", "\u200b", "\xad", "..", "-", "\x7f", "\x85")  # fmt: skip


def urls(seed: int, count: int) -> Iterator[str]:
    """Yield this many URLs; the same seed gives the same ones."""
    rng = Random(f"fuzz/{seed}")
    for _ in range(count):
        yield _one(rng)


def _one(rng: Random) -> str:
    if rng.random() < 0.15:
        text = rng.choice(URLS)[:300] or "x"
    else:
        parts = (SCHEMES, AFTER, USERS, HOSTS, PORTS, PATHS)
        # Mostly what is usual, so that much gets past the first check and meets the next.
        text = "".join(rng.choice(part[:3] if rng.random() < 0.5 else part) for part in parts)
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 4))):
        at = rng.randrange(len(text) + 1)
        match rng.randrange(4):
            case 0:
                text = text[:at] + rng.choice(NOISE) + text[at:]
            case 1:
                text = text[:at] + text[at + 1 :]
            case 2:
                text = text[:at] + f"%{ord(text[at]):02x}" + text[at + 1 :] if at < len(text) else text
            case _:
                text = text[:at] + text[at:].swapcase()
    return text
