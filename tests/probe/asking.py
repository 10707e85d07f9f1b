"""Asking upstreams from a test: real connections on a loop of the test's own."""

import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from tests.lab.fast_import import ENVIRONMENT

HEADS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
LOOPBACK = ["127.0.0.1"]


class Client:
    """One loop, one pool."""

    def __init__(self):
        from mirroring.upstream.client.loop import Loop

        self.loop = Loop()
        self.dialled = []

    def close(self):
        self.loop.close()

    def dial(self):
        self.dialled.append(True)
        return LOOPBACK

    def digest(self, target, *, refspecs=HEADS, way=None, dial=None):
        from mirroring.upstream.client.probe import Question, Way, check

        question = Question(target, refspecs, way or Way.V2_SHA1)
        return self.loop.run(check(self.loop.pool, question, dial=dial or self.dial), seconds=20).digest

    def look(self, target, *, refspecs=HEADS):
        from mirroring.upstream.client.probe import look

        return self.loop.run(look(self.loop.pool, target, refspecs, dial=self.dial), seconds=20)


def target(url, *, authorization=b"", **reached):
    from mirroring.upstream.client.dialing import Origin
    from mirroring.upstream.client.target import Target

    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    return Target(Origin(parts.scheme, parts.hostname, port, **reached), parts.path, authorization)


def git(path, *arguments, text=None):
    done = subprocess.run(
        ["git", "-C", str(path), *arguments],
        env=ENVIRONMENT,
        input=text,
        capture_output=True,
        check=True,
        text=True,
    )
    return done.stdout


def make_bare(path: Path, object_format: str, refs: int) -> Path:
    path.mkdir(parents=True)
    git(path, "init", "--quiet", "--bare", f"--object-format={object_format}", "--initial-branch=main")
    if refs:
        commit(path, "refs/heads/main", "first")
    for number in range(refs - 1):
        commit(path, f"refs/heads/topic-{number}", f"topic {number}")
    return path


def commit(path: Path, ref: str, text: str) -> None:
    stream = (
        f"commit {ref}\ncommitter a <a@lab.example> 1700000000 +0000\ndata {len(text)}\n{text}\n"
        f"M 100644 inline f\ndata {len(text)}\n{text}\n"
    )
    git(path, "fast-import", "--quiet", "--force", text=stream)
