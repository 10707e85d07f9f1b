"""Questions on connections that are kept: without a task each, and yet within their time and never lost."""

import time

from mirroring.scheduler import checking
from mirroring.upstream.client import prober
from mirroring.upstream.client.asks import Doubt
from tests.making import state_of


def test_an_answer_that_does_not_come_in_time_is_a_doubt_and_its_connection_is_closed(fleet, monkeypatch):
    mirror = fleet.mirror()  # Its connection is kept from here on.
    monkeypatch.setattr(checking, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(prober, "LOOK_SECONDS", 0.1)
    fleet.upstream.special["a"] = lambda request: None
    began = time.monotonic()
    assert fleet.run()[f"doubtful: {Doubt.SLOW}"] == 1
    assert time.monotonic() - began < 10
    assert state_of(mirror).import_due_at is not None
    assert fleet.upstream.connections == 1
    del fleet.upstream.special["a"]
    fleet.mirror()
    assert fleet.run()["unchanged"] == 1
    assert fleet.upstream.connections == 2


def test_a_kept_connection_that_is_cut_at_the_question_is_replaced(fleet):
    fleet.mirror()
    cuts = []

    def cut(request):
        cuts.append(request)
        del fleet.upstream.special["a"]
        fleet.upstream.drop_connections()

    fleet.upstream.special["a"] = cut
    assert fleet.run()["unchanged"] == 1
    assert len(cuts) == 1
    assert fleet.upstream.connections == 2


def test_answers_are_handed_out_once_there_are_enough_of_them_and_after_a_while_as_many_as_there_are(fleet):
    asks = [fleet.question() for _ in range(3)]

    began = time.monotonic()
    fleet.prober.put(asks[:1])
    time.sleep(0.5)  # One answer is there when they are asked for.
    fleet.prober.put(asks[1:])
    assert len(fleet.prober.answers(wait=20, enough=3)) == 3
    assert time.monotonic() - began < 10

    fleet.prober.put(asks)
    assert len(fleet.prober.answers(wait=1, enough=4)) == 3
