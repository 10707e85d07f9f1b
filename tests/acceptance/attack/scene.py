"""The hostile server's deeds, and for each the case that it makes."""

from collections.abc import Callable
from pathlib import Path

from tests.acceptance.attack import network
from tests.acceptance.attack.cases import BOUNDED, FAILED, FINE, NO_ANSWER, Case, of_scene
from tests.lab import hostile
from tests.lab.hostile import Deed, advertising, endless, redirect, serve, status

AUTH, GONE, TRANSIENT = frozenset({"auth"}), frozenset({"gone"}), frozenset({"transient"})
ANGRY = b"<html>\x1b[31mred\x1b[0m \x07 token=glpat-0123456789abcdefghij " + b"A" * 100_000 + b"</html>"


class Scene:
    """Deeds by the first part of the path, and the cases that lead there."""

    def __init__(self, *, good: Path, many: Path, bomb: Path) -> None:
        self.good, self.many, self.bomb = good, many, bomb
        self.honest = serve(good)
        self.deeds: dict[str, Deed] = {"good": self.honest, "elsewhere": self.honest}
        self.cases: list[Case] = []
        for add in (self._answers, self._redirects, self._protocol, self._refs, self._bombs, self._secrets):
            add()

    def add(
        self, name: str, deed: Deed, ends: frozenset[str], *, fresh: bool = False, **more: object
    ) -> None:
        """Add one deed and its case."""
        repository = more.pop("repository", self.good if fresh else "")
        case = of_scene(name, ends, repository=repository, **more)  # type: ignore[arg-type]
        self.deeds[name.replace("/", "-")] = deed
        self.cases.append(case)

    def _answers(self) -> None:
        expected = {
            401: AUTH, 403: AUTH, 407: AUTH | TRANSIENT, 404: GONE, 410: GONE, 429: TRANSIENT, 500: TRANSIENT,
            502: TRANSIENT, 503: TRANSIENT, 504: TRANSIENT, 400: FAILED, 402: FAILED, 418: FAILED, 451: FAILED,
        }  # fmt: skip
        for code, ends in expected.items():
            headers = [("Content-Type", "text/html")]
            if code == 401:
                headers.append(("WWW-Authenticate", 'Basic realm="\x1b[2Jhub"'))
            if code in {429, 503}:
                headers.append(("Retry-After", "2"))
            self.add(f"answer/{code}", status(code, *headers, body=ANGRY), ends)
        self.add("answer/retry-after-huge", status(429, ("Retry-After", "9" * 30)), TRANSIENT)
        self.add("answer/retry-after-wild", status(503, ("Retry-After", "-1\u00e9")), TRANSIENT)
        self.add("answer/page", status(200, ("Content-Type", "text/html"), body=ANGRY), FAILED)
        self.add("answer/nothing", status(200, ("Content-Type", "text/plain")), FAILED)
        self.add("answer/post-500", hostile.only_post(status(500, body=ANGRY), self.honest), TRANSIENT)

    def _redirects(self) -> None:
        follow = FINE | FAILED  # Whether one is followed is the product's choice; where to is not.
        good: dict[str, str] = {
            "same-path": "/good/{rest}",
            "same-host": "http://same-host.redirect.hub.example/good/{rest}",
            "same-host-port": "http://same-host-port.redirect.hub.example:80/good/{rest}",
            "other-host": f"http://{network.OTHER}/elsewhere/{{rest}}",
            "other-name": "http://other.example/elsewhere/{rest}",
        }
        for name, location in good.items():
            for code in (301, 302) if name == "same-path" else (301,):
                self.add(f"redirect/{name}" + (f"-{code}" if code != 301 else ""), redirect(code, location), follow,
                         fresh=True)  # fmt: skip
        evil = {
            "inner": "http://127.0.0.1/{rest}", "metadata": "http://169.254.169.254/latest/meta-data/",
            "inner-v6": "http://[::1]/{rest}", "mapped": "http://[::ffff:127.0.0.1]/{rest}", "octal": "http://0177.1/x",
            "number": "http://2130706433/{rest}", "private": "http://10.1.2.3:8080/{rest}",
            "inner-name": "http://inner.example/good/{rest}", "mixed-name": "http://mixed.example/good/{rest}",
            "localhost": "http://localhost/{rest}", "file": "file:///etc/passwd", "ext": "ext::sh -c id",
            "ftp": "ftp://127.0.0.1/{rest}", "gopher": "gopher://127.0.0.1:6379/_x", "ssh": "ssh://git@127.0.0.1/x",
            "scheme-relative": "//127.0.0.1/{rest}", "user": "http://hub.example@127.0.0.1/{rest}",
            "backslash": "http://hub.example\\@127.0.0.1/{rest}", "port": "http://127.0.0.1:22/{rest}",
            "empty": "", "blank": "http://", "garbage": "\x01\x02", "long": "/" + "a" * 20_000,
        }  # fmt: skip
        for number, (name, location) in enumerate(evil.items()):
            self.add(f"redirect/{name}", redirect((301, 302, 303, 307, 308)[number % 5], location), FAILED)
        self.add("redirect/loop", redirect(302, "/redirect-loop/{rest}"), FAILED)
        self.add(
            "redirect/two-hosts-loop", redirect(302, "http://{case}.other.example/{case}/{rest}"), FAILED
        )
        chain = {f"hop-{n}": redirect(302, f"/hop-{n + 1}/{{rest}}") for n in range(30)}
        self.deeds |= chain | {"hop-30": self.honest}
        self.add("redirect/long-chain", redirect(302, "/hop-0/{rest}"), FAILED)
        self.add(
            "redirect/post-only",
            hostile.only_post(redirect(307, "http://127.0.0.1/{rest}"), self.honest),
            FAILED,
        )
        self.add(
            "redirect/second-time",
            hostile.alternating(self.honest, redirect(302, "http://127.0.0.1/{rest}")),
            FAILED | FINE,
            rounds=3,
        )
        self.add("redirect/via-good-to-inner", redirect(301, "/redirect-inner/{rest}"), FAILED)

    def _protocol(self) -> None:
        slow = BOUNDED | NO_ANSWER
        line = hostile.packet(b"1" * 40 + b" refs/heads/" + b"x" * 200 + b"\n")
        begin = hostile.packet(b"# service=git-upload-pack\n") + b"0000"
        self.add("protocol/silent", hostile.silent, slow)
        self.add("protocol/hang-up", hostile.hang_up, slow)
        self.add("protocol/no-http", hostile.garbage, slow)
        self.add("protocol/endless-headers", hostile.endless_headers, slow)
        self.add("protocol/endless-refs", endless(line * 100, begin=begin), slow)
        self.add("protocol/endless-page", endless(b"<p>" * 20_000, kind=("Content-Type", "text/html")), slow)
        self.add("protocol/endless-zeros", endless(b"0000" * 10_000), slow)
        self.add("protocol/drip", endless(b"0", begin=begin, pause=0.3), slow)
        self.add("protocol/drip-refs", endless(line, begin=begin, pause=0.2), slow)
        self.add("protocol/inflating", hostile.inflating(1_024), slow)
        for name, pieces in _PACKS.items():
            self.add(f"protocol/{name}", hostile.only_post(pieces, self.honest), slow)

    def _refs(self) -> None:
        for name, lines in _REF_LISTS.items():
            # Fetched as far as it is sane, or refused: never a name on our disk that git forbids.
            self.add(
                f"refs/{name}", advertising(self.good, lines), FINE | FAILED, tags=frozenset({"made-up"})
            )
        self.add("refs/many", serve(self.many), FINE, repository=self.many)

    def _bombs(self) -> None:
        self.add("bomb/zlib", serve(self.bomb), FINE | BOUNDED, tags=frozenset({"bomb"}))

    def _secrets(self) -> None:
        """A password is for two host names of the hub, and for nobody else, whatever they ask."""
        asks = status(401, ("WWW-Authenticate", 'Basic realm="give it to me"'))
        self.deeds["stolen"] = asks
        self.add("secret/basic", _for_members(self.honest, asks), FINE, fresh=True, credential="canary")
        elsewhere = redirect(302, "http://other.example/stolen/{rest}")
        self.add("secret/redirected", _for_members(elsewhere, asks), FAILED, credential="canary")
        self.add("secret/not-for-you", asks, FAILED, credential="canary")


def _for_members(deed: Deed, asks: Deed) -> Deed:
    return lambda exchange: (deed if exchange.headers.get("Authorization") else asks)(exchange)


def _band(number: int, data: bytes) -> bytes:
    return hostile.packet(bytes([number]) + data)


# What is sent in the place of a pack: it must be bounded in time, in memory and on disk.
_PACKS: dict[str, Deed] = {
    "endless-pack": endless(
        _band(1, b"\x30x\x9c" + b"\xff" * 60_000), kind=hostile.RESULT,
        begin=hostile.packet(b"packfile\n") + _band(1, b"PACK\0\0\0\2\x7f\xff\xff\xff"),
    ),
    "endless-progress": endless(
        _band(2, b"\x1b[31mremote says\r" * 2_000), kind=hostile.RESULT, begin=hostile.packet(b"packfile\n")
    ),
    "endless-keep-alive": endless(_band(2, b""), kind=hostile.RESULT, begin=hostile.packet(b"packfile\n"), pause=0.2),
    "torn-pack": lambda exchange: exchange.answer(
        200, hostile.RESULT, body=hostile.packet(b"packfile\n") + _band(1, b"PACK\0\0\0\2\0\0\0\5\x95")
    ),
    "no-pack": lambda exchange: exchange.answer(200, hostile.RESULT, body=b"0000" * 50),
}  # fmt: skip


def _named(*names: bytes) -> Callable[[str], list[bytes]]:
    return lambda head: [head.encode() + b" " + name for name in (b"HEAD", *names)]


_MAIN = b"refs/heads/main"
_REF_LISTS: dict[str, Callable[[str], list[bytes]]] = {
    "dot-dot": _named(b"refs/heads/../../../../x", _MAIN),
    "absolute": _named(b"/etc/passwd", b"refs/heads//etc/passwd", _MAIN),
    "hooks": _named(b"refs/heads/../../hooks/post-update", b"refs/../config", _MAIN),
    "new-line": _named(b"refs/heads/a\nrefs/heads/b", _MAIN),
    "carriage-return": _named(b"refs/heads/a\rb", _MAIN),
    "escape": _named(b"refs/heads/\x1b[31mred", b"refs/heads/\x07", b"refs/heads/a\x7f", _MAIN),
    "space": _named(b"refs/heads/a b", b"refs/heads/a\tb", _MAIN),
    "dash": _named(b"refs/heads/-x", b"refs/heads/--upload-pack=x", _MAIN),
    "lock": _named(b"refs/heads/a.lock", b"refs/heads/main.lock", _MAIN),
    "glob": _named(b"refs/heads/*", b"refs/heads/a?", b"refs/heads/[", _MAIN),
    "at-brace": _named(b"refs/heads/a@{1}", b"refs/heads/@", b"@", _MAIN),
    "long-name": _named(b"refs/heads/" + b"n" * 4_000, _MAIN),
    "longer-name": _named(b"refs/heads/" + b"n/" * 30_000 + b"x", _MAIN),
    "too-long-name": _named(b"refs/heads/" + b"n" * 65_000, _MAIN),
    "deep": _named(b"refs/heads/" + b"/".join([b"d"] * 1_000), _MAIN),
    "case": _named(b"refs/heads/Main", b"refs/heads/MAIN", _MAIN),
    "file-and-folder": _named(_MAIN, b"refs/heads/main/x", b"refs/heads/main/x/y"),
    "twice": _named(_MAIN, _MAIN, _MAIN),
    "not-utf-8": _named(b"refs/heads/\xff\xfe\x80", _MAIN),
    "bidi": _named("refs/heads/\u202etxt.exe".encode(), _MAIN),
    "no-object": lambda head: [head.encode() + b" HEAD", b"1" * 40 + b" refs/heads/main"],
    "zero-object": lambda head: [head.encode() + b" HEAD", b"0" * 40 + b" refs/heads/main"],
    "short-object": lambda head: [head.encode() + b" HEAD", b"abc refs/heads/main"],
    "only-pseudo": _named(b"FETCH_HEAD", b"refs/bisect/x", b"refs/worktree/y", _MAIN),
    "empty-name": _named(b"", _MAIN),
}
