"""Adopting real repositories: what is taken, what is refused, and that the original stays as it was."""

import hashlib
import json
import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings

from mirroring import catalog
from mirroring.catalog.errors import AlreadyMirrored, BadList, NameTaken
from mirroring.models import Mirror
from tests.catalog.samples import NOW, URL, made, nobody, state
from tests.lab import fast_import, repositories
from tests.making import git, heads_and_tags, loose_refs, refs_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def storage(settings, tmp_path) -> Path:
    settings.REPOSITORIES_DIR = tmp_path / "repositories"
    return settings.REPOSITORIES_DIR


@pytest.fixture
def original(make_upstream):
    """A bare repository with merges, tags, pull requests and loose objects, as somebody else left it."""
    return make_upstream("pulls").path


def adopt(source, *, wake=nobody, url=URL, **wanted):
    return catalog.adopt(source, catalog.want(url, **wanted), due=NOW, wake=wake)


def fingerprint(folder: Path) -> dict[str, str]:
    """Return every file of a folder with its content, kind and permissions."""
    found = {}
    for path in sorted(folder.rglob("*")):
        content = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[str(path)] = f"{path.lstat().st_mode:o} {hashlib.sha256(os.fsencode(content)).hexdigest()}"
    return found


def stored(storage: Path) -> list[Path]:
    return [path for path in storage.rglob("*") if path.is_file()] if storage.exists() else []


def pack(path):
    git(path, "repack", "-a", "-d", "-q")
    return path


# -- what is taken ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True], ids=["loose", "packed"])
def test_an_adopted_mirror_has_the_selected_refs_of_the_original_all_packed(original, packed):
    if packed:
        git(pack(original), "pack-refs", "--all")

    adopted = adopt(original)

    repository = adopted.mirror.repository
    assert refs_of(repository) == heads_and_tags(original)
    assert adopted.refs == len(heads_and_tags(original))
    assert adopted.refs_left_out == len(refs_of(original)) - adopted.refs > 0
    assert loose_refs(repository) == []
    assert git(repository, "symbolic-ref", "HEAD") == git(original, "symbolic-ref", "HEAD")
    git(repository, "fsck", "--full", "--strict")


def test_its_configuration_and_hooks_stay_behind_and_run_nothing(original, tmp_path):
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    (original / "hooks").mkdir(exist_ok=True)
    for hook in ("post-update", "reference-transaction", "update", "pre-auto-gc"):
        shutil.copy(trap, original / "hooks" / hook)
    with (original / "config").open("a") as config:
        config.write(
            f"[core]\n\tfsmonitor = {trap}\n\tsshCommand = {trap}\n\talternateRefsCommand = {trap}\n"
        )
        config.write(f'[include]\n\tpath = {tmp_path}/elsewhere\n[remote "x"]\n\turl = ext::{trap}\n')
    before = fingerprint(original)

    repository = adopt(original).mirror.repository

    assert not (tmp_path / "sprung").exists()
    assert not (repository / "hooks").exists()
    assert str(trap) not in (repository / "config").read_text()
    assert fingerprint(original) == before


def test_the_first_import_fetches_only_what_is_new(tmp_path, git_server, request_log, make_upstream):
    upstream = make_upstream("big")
    copy = tmp_path / "copy.git"
    shutil.copytree(upstream.path, copy)
    pushed = repositories.push_commits(upstream, seed=7)
    mirror = adopt(copy, url=git_server.add(upstream.name, upstream.path)).mirror
    before = objects(mirror.repository)

    import_from(mirror)

    assert refs_of(mirror.repository)[pushed.ref] == pushed.target
    new = objects(mirror.repository) - before
    assert len(new) == 3  # A commit, its tree and its file.
    assert bytes_fetched(request_log) < 2_000 < size_of(copy) / 20


def import_from(mirror):
    from mirroring.upstream.disk.repository import Repository
    from mirroring.upstream.fetch import fetch
    from mirroring.upstream.git.process import StopHandle
    from mirroring.upstream.transfer.session import Order

    order = Order(
        repository=Repository(mirror.repository),
        url=mirror.url,
        refspecs=mirror.refspecs,
        epoch=1,
        timeout=timedelta(seconds=30),
    )
    return fetch(order, still_ours=lambda: True, stop=StopHandle())


def objects(path):
    return set(git(path, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split())


def size_of(path):
    return sum(file.stat().st_size for file in (path / "objects").rglob("*") if file.is_file())


def bytes_fetched(log):
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    fetches = {line["id"] for line in lines if line["event"] == "start" and line["kind"] == "fetch"}
    assert fetches
    return sum(line["sent"] for line in lines if line["event"] == "end" and line["id"] in fetches)


def test_files_that_only_we_can_write_are_linked_and_others_are_copied(original):
    pack(original)
    [ours] = (original / "objects" / "pack").glob("*.pack")
    [shared] = (original / "objects" / "pack").glob("*.idx")
    shared.chmod(0o666)

    mirrored = adopt(original).mirror.repository / "objects" / "pack"

    assert (mirrored / ours.name).samefile(ours)
    assert not (mirrored / shared.name).samefile(shared)
    assert (mirrored / shared.name).stat().st_mode & 0o777 == 0o444


def test_after_the_original_is_deleted_the_mirror_is_whole(original):
    repository = adopt(pack(original)).mirror.repository
    expected = heads_and_tags(original)
    shutil.rmtree(original)

    assert refs_of(repository) == expected
    git(repository, "fsck", "--full")


def test_one_adopted_mirror_is_due_at_once_and_wakes_the_scheduler(
    original, django_capture_on_commit_callbacks
):
    woken = []
    with django_capture_on_commit_callbacks(execute=True):
        mirror = adopt(original, wake=lambda: woken.append(1)).mirror

    assert (state(mirror).import_due_at, woken) == (NOW, [1])


# -- what is refused -------------------------------------------------------------------------------------------------


def append(path, text):
    with path.open("a") as file:
        file.write(text)


def symlinked_pack(path):
    [file] = (pack(path) / "objects" / "pack").glob("*.pack")
    outside = path.parent / "outside.pack"
    shutil.move(file, outside)
    file.symlink_to(outside)


def symlinked_fanout(path):
    shutil.move(path / "objects" / "pack", path.parent / "elsewhere")
    (path / "objects" / "pack").symlink_to(path.parent / "elsewhere")


def damaged(path):
    [file] = (pack(path) / "objects" / "pack").glob("*.pack")
    file.chmod(0o644)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)


def incomplete(path):
    git(path, "update-ref", "refs/heads/gone", "main")
    append(path / "packed-refs", "")
    (path / "refs" / "heads" / "gone").write_text("1" * 40 + "\n")


def pipe(path):
    (path / "packed-refs").unlink(missing_ok=True)
    os.mkfifo(path / "packed-refs")


REFUSALS = {
    "alternates": (lambda p: append(p / "objects/info/alternates", "/etc\n"), "borrows objects"),
    "work tree": (lambda p: append(p / "config", "[core]\n\tbare = false\n"), "has a work tree"),
    "index": (lambda p: (p / "index").touch(), "has a work tree"),
    "sha-256": (lambda p: append(p / "config", "[extensions]\n\tobjectFormat = sha256\n"), "another hash"),
    "reftable": (lambda p: append(p / "config", "[extensions]\n\trefStorage = reftable\n"), "another format"),
    "partial": (lambda p: (p / "objects/pack/pack-1.promisor").touch(), "partial clone"),
    "shallow": (lambda p: (p / "shallow").touch(), "is shallow"),
    "symlinked pack": (symlinked_pack, "neither file nor folder"),
    "symlinked folder": (symlinked_fanout, "neither file nor folder"),
    "symlinked objects": (
        lambda p: (shutil.move(p / "objects", p / "o"), (p / "objects").symlink_to("o")),
        "kind",
    ),
    "symlinked ref": (lambda p: (p / "refs/heads/x").symlink_to("/etc/passwd"), "symbolic link"),
    "symlinked refs": (lambda p: (p / "refs/heads/x").symlink_to("/etc"), "symbolic link"),
    "ref outside": (
        lambda p: append(p / "packed-refs", f"{'1' * 40} refs/heads/../../x\n"),
        "does not allow",
    ),
    "ref with control": (
        lambda p: append(p / "packed-refs", f"{'1' * 40} refs/heads/a\x07\n"),
        "does not allow",
    ),
    "ref that is no id": (lambda p: (p / "refs/heads/x").write_text("abc\n"), "does not allow"),
    "ref in a ref": (
        lambda p: append(p / "packed-refs", f"{'1' * 40} refs/heads/main/x\n"),
        "does not allow",
    ),
    "torn packed-refs": (lambda p: append(p / "packed-refs", "xyz\n"), "is damaged"),
    "missing object": (incomplete, "git fsck refuses"),
    "damaged pack": (damaged, "git fsck refuses"),
    "pipe": (pipe, "is no regular file"),
    "no repository": (lambda p: shutil.rmtree(p / "objects"), "is no bare repository"),
}


@pytest.mark.parametrize("fault", REFUSALS)
def test_a_repository_that_is_not_sound_is_refused_and_stays_as_it_was(fault, original, storage):
    spoil, why = REFUSALS[fault]
    spoil(original)
    before = {} if fault == "pipe" else fingerprint(original)

    with pytest.raises(catalog.NotAdoptable, match=why):
        adopt(original)

    assert not Mirror.objects.exists()
    assert stored(storage) == []
    assert fault == "pipe" or fingerprint(original) == before


def test_a_path_that_is_not_there_or_that_is_ours_is_refused(tmp_path, original):
    with pytest.raises(catalog.NotAdoptable, match="no such file"):
        adopt(tmp_path / "nothing")
    mirror = adopt(original).mirror
    with pytest.raises(catalog.NotAdoptable, match="our own storage"):
        adopt(mirror.repository, name="again")


def test_a_name_that_is_taken_costs_no_look_at_the_repository(tmp_path):
    made(name="p")

    with pytest.raises(AlreadyMirrored):
        adopt(tmp_path / "nothing", name="p")
    with pytest.raises(NameTaken):
        adopt(tmp_path / "nothing", name="p", url="https://git.example.org/other")


def test_rows_that_cannot_be_committed_leave_no_repository(original, storage):
    before = fingerprint(original)

    with pytest.raises(TypeError):
        adopt(original, wake=None)  # What on_commit is not given fails after the repository has landed.

    assert stored(storage) == []
    assert not Mirror.objects.exists()
    assert fingerprint(original) == before


def test_what_a_killed_adoption_left_is_swept_and_what_is_at_work_is_not(original, storage):
    for name, age in (("old", 2), ("new", 0)):
        folder = storage / ".adopting" / name
        folder.mkdir(parents=True)
        when = folder.stat().st_mtime - age * 86_400
        os.utime(folder, (when, when))

    adopt(original)

    assert [folder.name for folder in (storage / ".adopting").iterdir()] == ["new"]


# -- lists -----------------------------------------------------------------------------------------------------------


def test_a_list_is_adopted_line_by_line_and_its_imports_are_spread(make_upstream):
    paths = [make_upstream("plain").path for _ in range(4)]
    lines = "".join(f"{path} https://git.example.org/team/p{n}\n" for n, path in enumerate(paths))
    shutil.rmtree(paths[2] / "objects")
    over = timedelta(hours=2)

    def run():
        adoptions = catalog.read_adoptions(lines.encode())
        return list(catalog.adopt_all(adoptions, now=NOW, over=over, wake=nobody))

    first, second = run(), run()

    assert [bool(each.adopted) for each in first] == [True, True, False, True]
    assert [(each.line, each.path) for each in first if each.refusal] == [(3, "default/p2")]
    assert [each.skipped for each in second] == [True, True, False, True]
    due = [state(each.adopted.mirror).import_due_at - NOW for each in first if each.adopted]
    assert due == [timedelta(), over / 4, over * 3 / 4]


def test_many_adopted_mirrors_are_due_evenly_over_the_time(make_upstream, tmp_path):
    source = make_upstream("empty").path
    paths = [shutil.copytree(source, tmp_path / f"{n}.git") for n in range(40)]
    lines = "".join(f"{path} https://git.example.org/team/p{n}\n" for n, path in enumerate(paths))

    adoptions = catalog.read_adoptions(lines.encode())
    done = list(catalog.adopt_all(adoptions, now=NOW, over=timedelta(minutes=40), wake=nobody))

    due = sorted(state(each.adopted.mirror).import_due_at for each in done)
    assert due == [NOW + timedelta(minutes=minute) for minute in range(40)]


@pytest.mark.parametrize(
    "text",
    [
        "/srv/git/a.git https://git.example.org/team/a\n",
        "path,url,name,group\n/srv/git/a.git,https://git.example.org/team/a,a,default\n",
        '[{"path": "/srv/git/a.git", "url": "https://git.example.org/team/a"}]',
    ],
    ids=["lines", "csv", "json"],
)
def test_a_list_may_be_lines_csv_or_json(text):
    [adoption] = catalog.read_adoptions(text.encode())

    assert (str(adoption.source), adoption.wanted.path) == ("/srv/git/a.git", "default/a")
    with pytest.raises(BadList, match="adopt the repository there with"):
        catalog.read_list(text.encode())


@pytest.mark.parametrize(
    "line", ["https://git.example.org/team/a", "a.git https://git.example.org/team/a", "/a.git ftp://x/y"]
)
def test_a_line_without_an_absolute_path_or_a_url_refuses_the_list(line):
    with pytest.raises(BadList):
        catalog.read_adoptions(f"/b.git https://git.example.org/team/b\n{line}\n".encode())


def test_the_folder_settings_are_those_of_every_mirror(original):
    repository = adopt(original).mirror.repository

    assert repository.is_relative_to(settings.REPOSITORIES_DIR)
    assert repository.parent.stat().st_mode & 0o077 == 0
    assert (repository / "incoming").is_dir()
    assert "allowAnySHA1InWant = false" in (repository / "config").read_text()
    assert fast_import.run(repository, "rev-parse", "--is-bare-repository").strip() == "true"
