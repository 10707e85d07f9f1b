from collections.abc import Iterator

import pytest
import requests

from tests import trial
from tests.chatops.deployments import Deployment, deployed


@pytest.fixture(scope="module")
def deployment(tmp_path_factory) -> Iterator[Deployment]:
    with deployed("lab", tmp_path_factory.mktemp("d"), MIRRORING_REVISION="a" * 40) as running:
        yield running


@pytest.fixture(scope="module")
def sweeper(deployment) -> dict[str, str]:
    return {"PRIVATE-TOKEN": deployment.token("sweeper", "write_flags")}


@pytest.fixture
def clean(deployment, sweeper) -> Iterator[Deployment]:
    """The deployment, whose flags are put back to their defaults afterwards."""
    yield deployment
    for name in (trial.SECOND, trial.FIRST):
        url = f"{deployment.web.url}/api/v4/features/{name}"
        assert requests.delete(url, headers=sweeper, timeout=5).status_code == 204
