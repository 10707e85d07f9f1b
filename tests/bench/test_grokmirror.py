"""grok-pull as a peer: its manifest follows the pushes, and its time ends with what it fetched last."""

import gzip
import json
import os
from pathlib import Path
from urllib.request import urlopen

import pytest

from bench import sweep
from bench.harness import installed, upstreams
from bench.harness.measure import Cost, Measured, Void
from bench.peers import grokmirror

pytestmark = pytest.mark.one_database
SECOND = 10**9


@pytest.fixture
def grok() -> Path:
    """Return the folder of grokmirror's programs. In CI missing ones are a failure."""
    found = grokmirror.programs()
    if found is None and not os.environ.get("CI"):
        pytest.skip(grokmirror.MISSING)
    assert found, grokmirror.MISSING
    return found


def fingerprints(url: str) -> dict[str, str]:
    with urlopen(url) as answer:
        manifest = json.loads(gzip.decompress(answer.read()))
    return {path: entry["fingerprint"] for path, entry in manifest.items()}


def test_a_push_renews_the_manifest(grok, tmp_path):
    with (
        upstreams.backend(tmp_path, count=3, refs=2, seed=1) as bare,
        grokmirror.published(bare, tmp_path / "manifest", grok=grok) as (served, manifest),
    ):
        before, head = fingerprints(manifest), served.head(1)

        served.push([1])

        after = fingerprints(manifest)
        assert set(after) == {"/0.git", "/1.git", "/2.git"}
        assert [path for path in after if after[path] != before[path]] == ["/1.git"]
        assert served.head(1) != head


def test_a_run_that_never_ends_by_itself_is_ended(grok, tmp_path, monkeypatch):
    """As one does that has fetched a multiple of a hundred."""
    monkeypatch.setattr(grokmirror, "IDLE_SECONDS", 8.0)
    with (
        upstreams.backend(tmp_path, count=100, refs=1, seed=1) as bare,
        grokmirror.beside(bare, tmp_path, [grokmirror.DEFAULT]) as (served, [fetcher]),
    ):
        fetcher.sweep()

        assert [fetcher.head_of(number) for number in (0, 99)] == [served.head(number) for number in (0, 99)]


@pytest.fixture
def mirrors(tmp_path):
    """Return the paths of two mirrors, which grok-pull noted at the 5th and 7th second, and of one never fetched."""
    paths = [tmp_path / f"{number}.git" for number in range(3)]
    for path, at in zip(paths, (5, 7), strict=False):
        path.mkdir()
        (path / grokmirror.WRITTEN).write_text("fingerprint")
        os.utime(path / grokmirror.WRITTEN, ns=(at * SECOND, at * SECOND))
    return paths


def test_the_best_run_takes_until_its_last_mirror_is_written(mirrors):
    assert grokmirror.last_written(mirrors, since=4 * SECOND) == 3


def test_a_run_that_wrote_nothing_is_void(mirrors):
    with pytest.raises(Void, match="grok-pull fetched nothing"):
        grokmirror.last_written(mirrors, since=8 * SECOND)


def test_a_mirror_that_was_never_fetched_holds_nothing(tmp_path):
    served = upstreams.Served(["http://127.0.0.1:1/0.git"], push=print, head=str)
    fetcher = grokmirror.GrokFetcher(grokmirror.BEST, tmp_path, served, "http://127.0.0.1:1/m", grok=tmp_path)

    assert fetcher.head_of(0) == ""


def test_a_grokmirror_that_is_not_there_is_said():
    ours, absent = Measured("ours", (Cost(wall=1, cpu=1),)), Measured(grokmirror.BEST, ())

    row = sweep.row_of(sweep.CASES[-1], ours, absent, 6, cpu=False)

    assert (row.verdict, row.why) == ("peer not run", grokmirror.MISSING)


def test_grok_pull_is_stated_also_where_it_is_quicker():
    ours, peer = (
        Measured("ours", (Cost(wall=2, cpu=2),)),
        Measured(grokmirror.DEFAULT, (Cost(wall=1, cpu=1),)),
    )

    row = sweep.row_of(sweep.CASES[-1], ours, peer, 6, cpu=False)

    assert (row.verdict, row.why) == ("stated: we lose", grokmirror.WHY[grokmirror.DEFAULT])


def test_what_cannot_be_installed_is_not_remembered_as_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(installed, "PEERS", tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    assert installed.python_with(grokmirror.REQUIREMENT) is None
    assert installed.python_with(grokmirror.REQUIREMENT) is None
