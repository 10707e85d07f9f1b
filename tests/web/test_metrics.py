"""/metrics says what the rows and the tracker hold, and never which mirrors there are."""

from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mirroring import metrics
from mirroring.models import ImportState, Mirror
from mirroring.tracker.connection import connect
from tests.web import sample

pytestmark = pytest.mark.django_db


def scrape(client, **headers) -> dict[str, float]:
    """Return every sample by its name and labels, as in `name{label}`."""
    answer = client.get("/metrics", **headers)
    assert answer.status_code == 200
    return {
        f"{found.name}{{{','.join(found.labels.values())}}}" if found.labels else found.name: found.value
        for family in text_string_to_metric_families(answer.content.decode())
        for found in family.samples
    }


@pytest.fixture
def made() -> sample.Made:
    now = connect().now()
    made = sample.fill(60, now=now)
    sample.occupy(connect(), made, now=now, slots=5)
    return made


def test_every_metric_is_there_with_its_help(client, made):
    connect().note("stale_messages", 3)

    text = client.get("/metrics").content.decode()

    for metric in metrics.ALL:
        exposed = f"{metric.name}_total" if isinstance(metric, metrics.Counter) else metric.name
        assert f"# HELP {exposed} {metric.help}\n" in text


def test_the_numbers_are_those_of_the_rows(client, made):
    found = scrape(client)

    active = ImportState.objects.filter(active=True)
    assert {name: value for name, value in found.items() if name.startswith("mirroring_mirrors{")} == {
        f"mirroring_mirrors{{{status}}}": active.filter(status=status).count()
        for status in ("none", "scheduled", "started", "finished", "failed", "canceled")
    }
    assert found["mirroring_mirrors_hard_failed"] == active.filter(hard_failed=True).count() > 0
    assert found["mirroring_mirrors_last_outcome{gone}"] == active.filter(last_outcome="gone").count() > 0
    assert found["mirroring_mirrors_paused"] == Mirror.objects.filter(paused_at__isnull=False).count() > 0
    assert found["mirroring_mirrors_overdue"] == active.filter(import_due_at__lte=connect().now()).count() > 0
    assert sum(found[f"mirroring_attempts_last_hour{{{name}}}"] for name in ("unchanged", "gone")) > 0


def test_the_numbers_are_those_of_the_tracker(client, made):
    connect().note("bounced", 2)

    found = scrape(client)

    assert found["mirroring_slots_used{importing}"] == len(made.in_flight) > 0
    assert found["mirroring_slots_used{processing}"] == 0
    assert found["mirroring_slots_announced"] == found["mirroring_capacity_in_force"] == 5
    assert found["mirroring_capacity_max"] == 100
    assert found["mirroring_workers"] == 1
    assert found["mirroring_tracker_ready"] == 1
    assert found["mirroring_events_total{bounced}"] == 2
    assert found["mirroring_feature_flag{trial_second}"] == 0
    assert found["mirroring_up{database}"] == found["mirroring_up{redis}"] == 1


def test_the_oldest_overdue_mirror_is_told_in_seconds_also_if_it_was_asked_for(client, make_mirror):
    mirror = make_mirror()
    now = connect().now()
    ImportState.objects.filter(pk=mirror.pk).ask_now(now=now - timedelta(seconds=500))

    assert 500 <= scrape(client)["mirroring_oldest_overdue_seconds"] < 530


def test_a_mirror_that_is_paused_is_in_no_status(client, make_mirror):
    from mirroring.catalog import acting, removing

    now = connect().now()
    acting.pause(make_mirror("default/one"), now=now)
    removing.remove(make_mirror("default/two"), now=now)
    make_mirror("default/three")

    found = scrape(client)

    assert (
        found["mirroring_mirrors{none}"]
        == found["mirroring_mirrors_paused"]
        == found["mirroring_mirrors_removed"]
        == 1
    )


def test_no_name_and_no_url_is_told(client, made):
    text = client.get("/metrics").content.decode()

    for mirror in made.mirrors:
        assert mirror.name not in text.replace("mirroring_tracker", "")
        assert mirror.url not in text
        assert mirror.host.name not in text


def test_without_redis_it_answers_what_the_rows_say(client, made, redis_down):
    found = scrape(client)

    assert (found["mirroring_up{redis}"], found["mirroring_up{database}"]) == (0, 1)
    assert found["mirroring_mirrors{finished}"] > 0
    assert "mirroring_slots_used{importing}" not in found


def test_a_scrape_takes_a_few_queries_whatever_the_number_of_mirrors(client, made, django_assert_num_queries):
    with django_assert_num_queries(8):
        scrape(client)


@pytest.mark.parametrize(
    "header", [None, "Bearer wrong", "s3cret", "Basic s3cret", "Bearer s3cret2", "Bearer \u00ff"]
)
def test_with_a_token_set_nobody_scrapes_without_it(header, client, settings):
    settings.METRICS_TOKEN = "s3cret"
    headers = {} if header is None else {"HTTP_AUTHORIZATION": header}

    refused = client.get("/metrics", **headers)

    assert refused.status_code == 401
    assert refused["WWW-Authenticate"].startswith("Bearer")
    assert b"mirroring_up" not in refused.content
    assert scrape(client, HTTP_AUTHORIZATION="Bearer s3cret")["mirroring_up{redis}"] == 1
