"""Serving a mirror to a clone: streamed, and ended with its reader."""

import threading
import time
from pathlib import Path

import pytest

from mirroring.upstream.git.serving import upload_pack
from tests.making import git, wait_until

LS_REFS = b"0014command=ls-refs\n0001" + b"001bref-prefix refs/heads/\n" + b"0000"


@pytest.fixture
def path(make_upstream):
    return make_upstream("branches").path


def serve(path, *, advertise=False, protocol="version=2", body=()):
    return upload_pack(path, advertise=advertise, protocol=protocol, body=body)


def test_refs_are_advertised_in_the_old_protocol(path):
    answer = b"".join(serve(path, advertise=True, protocol=""))

    assert b"refs/heads/main" in answer
    assert answer.endswith(b"0000")


def test_the_new_protocol_is_spoken_to_who_asks_for_it(path):
    assert b"version 2" in b"".join(serve(path, advertise=True))


def test_a_question_that_comes_in_pieces_is_answered(path):
    answer = b"".join(serve(path, body=[LS_REFS[:7], LS_REFS[7:]]))

    assert b"refs/heads/main" in answer
    assert b"refs/heads/topic-001" in answer


def test_a_question_cut_short_ends_the_answer(path):
    assert b"refs/heads" not in b"".join(serve(path, body=[LS_REFS[:9]]))


def test_nothing_is_served_that_is_no_repository(tmp_path):
    assert b"".join(serve(tmp_path, advertise=True)) == b""


def serving_processes(path):
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                found += [process.name] if str(path).encode() in (process / "cmdline").read_bytes() else []
            except OSError:
                continue
    return found


def test_a_reader_that_goes_away_ends_the_process_though_its_question_never_ends(path):
    released = threading.Event()

    def endless():
        yield LS_REFS[:9]
        released.wait(60)

    answer = serve(path, body=endless(), protocol="version=2")
    reading = threading.Thread(target=lambda: next(answer, b""), daemon=True)
    reading.start()
    wait_until(lambda: serving_processes(path), seconds=10)
    assert reading.is_alive()
    released.set()
    reading.join(10)
    answer.close()

    wait_until(lambda: not serving_processes(path), seconds=10)


def test_an_answer_that_nobody_reads_to_its_end_is_ended_when_it_is_closed(heavy):
    oid = git(heavy, "rev-parse", "main").strip()
    body = packets("command=fetch", None, f"want {oid}", "done")
    answer = serve(heavy, body=[body])
    next(answer)
    assert serving_processes(heavy)
    began = time.monotonic()

    answer.close()

    wait_until(lambda: not serving_processes(heavy), seconds=10)
    assert time.monotonic() - began < 15


def packets(*lines):
    """Return lines in git's form; None stands between the command and its arguments."""
    written = ["0001" if line is None else f"{len(line) + 5:04x}{line}\n" for line in lines]
    return "".join([*written, "0000"]).encode()
