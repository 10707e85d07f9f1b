"""The sustained row notices a change that was missed, an import without one, and how late checks are."""

import socket
from datetime import timedelta

import pytest

from bench.harness import checked, forge, upstreams
from bench.harness.lateness import Panel, percentile
from bench.harness.measure import Void
from bench.harness.sustained_fleet import Course
from mirroring.models import ImportAttempt, ImportState, Mirror
from tests.making import NOW, repositories_folder  # noqa: F401

pytestmark = pytest.mark.one_database
SECOND = timedelta(seconds=1)


@pytest.fixture
def mirrors(make_mirror, repositories_folder) -> list[Mirror]:  # noqa: F811
    """Two mirrors as rows only; the upstream of the second has changed."""
    made = [make_mirror(next_execution_at=NOW) for _ in range(2)]
    made[0].group.name = checked.GROUP
    made[0].group.save()
    return made


def served(**versions: int) -> upstreams.Served:
    return upstreams.Served(["u0", "u1"], push=list, head=str, says=lambda _: versions)


def write(mirror: Mirror, head: bytes) -> None:
    mirror.repository.mkdir(parents=True, exist_ok=True)
    (mirror.repository / "packed-refs").write_bytes(b"# pack-refs\n%b refs/heads/main\n" % head)


def test_a_change_that_was_missed_voids_the_row(mirrors):
    with pytest.raises(Void, match="1 of 1 changes were missed"):
        checked.require_found(served(**{"1": 2}))

    write(mirrors[1], forge.head_of(1, 1))
    with pytest.raises(Void, match="1 of 1 changes were missed"):
        checked.require_found(served(**{"1": 2}))

    write(mirrors[1], forge.head_of(1, 2))
    checked.require_found(served(**{"1": 2}))


def test_an_import_of_what_had_not_changed_voids_the_row(mirrors):
    write(mirrors[1], forge.head_of(1, 1))
    ImportAttempt.objects.create(mirror=mirrors[0], epoch=1, worker="w", started_at=NOW)

    with pytest.raises(Void, match="1 mirrors were imported that had not changed"):
        checked.require_found(served(**{"1": 1}))


def test_a_check_is_late_by_what_lies_between_its_due_time_and_its_end(mirrors):
    first, interval = mirrors[0].pk, timedelta(0)
    panel = Panel([0, 1], first, interval)
    panel.look()

    ImportState.objects.filter(pk=first).update(next_execution_at=NOW + 2 * SECOND)

    assert panel.late(now=NOW + 7 * SECOND) == [2.0, 5.0, 7.0]


def test_a_run_says_by_how_much_the_latest_check_of_each_step_was_late(mirrors):
    panel = Panel([0, 1], mirrors[0].pk, timedelta(0))
    panel.look()
    for seconds in (3, 4, 25):
        ImportState.objects.filter(pk=mirrors[0].pk).update(next_execution_at=NOW + seconds * SECOND)
        panel.look()

    assert panel.worst(began=NOW, step=10 * SECOND) == [3.0, 0.0, 21.0]


def test_the_course_of_a_run_is_its_rate_in_each_step():
    course = Course(checks=100)

    assert not course.is_due(9.9)
    course.note(10.0, 300)
    course.note(20.5, 405)

    assert course.rates == [20.0, 10.0]


def test_a_percentile_is_one_of_the_values_and_nothing_is_never_in_time():
    assert [percentile(range(1, 101), percent) for percent in (50, 99)] == [50, 99]
    assert percentile([], 99) == float("inf")


def test_the_forge_answers_a_request_in_pieces_as_it_answers_a_whole_one(tmp_path):
    body = b"0014command=ls-refs\n0000"
    request = b"POST /0.git/git-upload-pack HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with upstreams.memory(tmp_path, count=2, refs=3) as forge_served:
        answers = []
        for pieces in ([request], [request[:70], request[70:]], [request + request[:40], request[40:]]):
            with socket.create_connection((forge_served.host, forge_served.port)) as connection:
                for piece in pieces:
                    connection.sendall(piece)
                    if len(pieces) > 1:
                        connection.settimeout(0.3)
                answers.append(connection.recv(65_536))

        assert answers[0] == answers[1]
        assert answers[2].startswith(answers[0])
        assert forge_served.head(0).encode() in answers[0]
        assert forge_served.says("asked")["lists"] >= 3
