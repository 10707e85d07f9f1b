"""What can be known of the container files without an engine: that they fit the code, and the habits that matter."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mirroring.stack.processes import Layout, processes

pytestmark = pytest.mark.one_database

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
COMPOSE = yaml.safe_load((ROOT / "docker" / "compose.yml").read_text())
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "mirroring"}
EVERYWHERE = Layout(web_host="0.0.0.0", flower_host="0.0.0.0")


def instructions():
    text = re.sub(r"\\\n", " ", DOCKERFILE.read_text())
    lines = [
        line.split(maxsplit=1) for line in text.splitlines() if line.strip() and not line.startswith("#")
    ]
    return [(word, rest) for word, rest in lines]


def of(kind):
    return [rest for word, rest in instructions() if word == kind]


def copied():
    return [shlex.split(rest) for rest in of("COPY")]


@pytest.mark.parametrize("process", processes(EVERYWHERE), ids=lambda process: process.name)
def test_compose_runs_each_process_with_the_command_of_the_stack(process):
    assert tuple(SERVICES[process.name]["command"]) == process.arguments


def test_compose_runs_nothing_else_of_ours():
    assert set(OURS) == {process.name for process in processes(EVERYWHERE)} | {"migrate"}


def test_every_variable_that_compose_sets_is_one_that_something_reads():
    read = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', (ROOT / "config" / "settings.py").read_text()))
    allowed = read | {"FLOWER_BASIC_AUTH"}  # Flower's own

    for name, service in OURS.items():
        assert set(service["environment"]) <= allowed, name


def test_no_secret_is_written_in_compose():
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|AUTH|DATABASE_URL", name):
                assert ":?" in value, f"{name} must come from outside, and be asked for"


def test_services_volumes_and_networks_that_are_named_exist():
    for service in SERVICES.values():
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        assert set(service["networks"]) <= set(COMPOSE["networks"])
        assert {volume.split(":")[0] for volume in service.get("volumes", [])} <= set(COMPOSE["volumes"])


def test_databases_are_not_reachable_from_outside_and_ports_are_on_loopback():
    assert COMPOSE["networks"]["backend"]["internal"] is True
    for name in ("postgres", "redis"):
        assert SERVICES[name]["networks"] == ["backend"]
        assert "ports" not in SERVICES[name]
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_image_is_pinned_to_a_version():
    images = [service["image"] for service in SERVICES.values() if service["image"] != "mirroring"] + of(
        "FROM"
    )

    assert all(re.search(r":\d", image) for image in images), images


def test_the_image_runs_as_an_ordinary_user_under_an_init():
    assert of("USER") == ["10001"]
    assert of("ENTRYPOINT") == ['["tini", "--", "python"]']
    after_user = [word for word, _ in instructions()]
    assert "RUN" not in after_user[after_user.index("USER") :]


def test_the_image_installs_by_hash_and_leaves_no_package_lists():
    runs = " ".join(of("RUN"))

    assert "--require-hashes --requirement requirements.txt" in runs
    assert "--no-install-recommends git tini" in runs
    assert "rm -rf /var/lib/apt/lists/*" in runs


def test_what_the_image_copies_exists_and_is_not_ignored():
    let_through = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }

    for *sources, _ in copied():
        for source in sources:
            assert (ROOT / source).exists(), source
            assert source in let_through, f"{source} is left out by .dockerignore"


def test_the_files_in_the_image_are_enough_to_run_it(tmp_path):
    """Replay the COPY steps into an empty folder, and start there what can be started without servers."""
    for *sources, target in copied():
        for source in sources:
            place = tmp_path / target / ("" if (ROOT / source).is_dir() else source)
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy2
            copy(ROOT / source, place)
    state = tmp_path / "state"
    kept = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "PYTHONPATH")}
    env = {**kept, "MIRRORING_STATE": str(state), "SECRET_KEY": "x" * 60}

    for words in (
        ["manage.py", "check"],
        ["-m", "gunicorn", "--check-config", "config.wsgi:application"],
        ["-m", "celery", "-A", "config", "report"],
    ):
        done = subprocess.run([sys.executable, *words], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
