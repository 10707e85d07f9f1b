"""Why a flag is turned on: in a deployment that is named production every way in has to say so; off takes no reason."""

import pytest

from mirroring.flags.readings import read_all
from mirroring.models import FlagChange
from tests.flags.ways import WAYS, open_way
from tests.trial import FIRST

pytestmark = pytest.mark.django_db


@pytest.fixture(params=WAYS)
def way(request, client, settings):
    settings.STATIC_ROOT.mkdir(exist_ok=True)
    settings.FLAG_REASON_NEEDED = True
    return open_way(request.param, client)


def test_production_takes_no_flag_on_without_a_reason(way):
    refused = way.set(FIRST, True)

    assert not refused.ok
    assert "takes a reason" in refused.text
    assert not read_all()[FIRST]

    assert way.set(FIRST, True, why="QA was good").ok
    assert FlagChange.objects.first().why == "QA was good"


def test_turning_off_takes_no_reason(way):
    way.set(FIRST, True, why="QA was good")

    assert way.set(FIRST, False).ok
    assert not read_all()[FIRST]


def test_a_share_of_actors_takes_a_reason_too(way, define):
    name = define("per_mirror", actor="mirror")

    assert not way.set(name, 25).ok
    assert way.set(name, 25, why="the first quarter").ok


@pytest.mark.parametrize(
    ("environment", "needed"),
    [("", False), ("dev", False), ("staging", False), ("canary", True), ("production", True)],
)
def test_a_deployment_that_is_one_of_several_is_named(environment, needed, child_environment):
    import subprocess
    import sys

    code = (
        "import django; django.setup(); from django.conf import settings; print(settings.FLAG_REASON_NEEDED)"
    )
    variables = child_environment(DJANGO_SETTINGS_MODULE="config.settings")
    if environment:
        variables["MIRRORING_ENVIRONMENT"] = environment
    done = subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, timeout=60
    )

    assert done.stdout == f"{needed}\n"
