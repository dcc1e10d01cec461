"""docker-compose.yml, built and brought up once for the tests below, under a project, ports and secrets of its own."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_docker.plugin import Services

from tests.docker.deployment import Deployment, Orders, make_readable

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
PRODUCT = ROOT / "tests" / "products" / "orders"
DOWN = "--profile client down --volumes --timeout 5"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs a daemon, and minutes."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.docker)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(900))


def daemon_missing() -> str:
    """Why there is no daemon to talk to; empty: there is one."""
    if known := os.environ.get("KAPPA_NO_DOCKER"):
        return known
    if not shutil.which("docker"):
        return "no docker command: make test-docker says what it needs"
    asked = subprocess.run(
        ["docker", "info"], capture_output=True, text=True, check=False, timeout=60
    )
    return (
        ""
        if asked.returncode == 0
        else ("no Docker daemon answers: make test-docker starts one where it may")
    )


@pytest.fixture(scope="session")
def docker_compose_file() -> list[str]:
    """As Compose itself is told: COMPOSE_FILE names them where images cannot be pulled."""
    if missing := daemon_missing():
        pytest.skip(missing)
    return [
        str(ROOT / name) for name in os.environ.get("COMPOSE_FILE", "docker-compose.yml").split(":")
    ]


@pytest.fixture(scope="session")
def docker_compose_project_name() -> str:
    return "kappa-test"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of what is mounted into containers."""
    return tmp_path_factory.mktemp("compose")


@pytest.fixture(scope="session")
def products(folder: Path) -> Path:
    """The folder of products that people edit."""
    return folder / "products"


@pytest.fixture(scope="session")
def secrets(environment: None, folder: Path) -> list[str]:
    """All passwords."""
    return [
        file.read_text().strip().partition("=")[2] or file.read_text().strip()
        for file in (folder / "secrets").iterdir()
    ]


@pytest.fixture(scope="session")
def environment(folder: Path) -> Iterator[None]:
    """What docker-compose.yml takes from it: ports that are free, secrets, the products of the tests."""
    subprocess.run([ROOT / "deploy" / "compose" / "secrets", folder / "secrets"], check=True)
    shutil.copytree(PRODUCT, folder / "products" / "orders")
    make_readable(folder / "products")
    base = int(os.environ.get("KAPPA_DOCKER_PORTS", "43000"))
    values = {
        "KAPPA_SECRETS_DIR": folder / "secrets",
        "KAPPA_PRODUCTS": folder / "products",
        "KAPPA_KAFKA_PORT": base,
        "KAPPA_REGISTRY_PORT": base + 1,
        "KAPPA_FLINK_PORT": base + 2,
        "KAPPA_CONTROLLER_PORTS": f"{base + 3}-{base + 4}",
        "KAPPA_TASKMANAGER_MEMORY": "2g",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, str(value))
        yield


@pytest.fixture(scope="session")
def docker_setup(docker_compose_file: list[str], docker_compose_project_name: str) -> list[str]:
    """From nothing: a run that was cut may have left volumes, whose passwords are others.

    Compose says that a container is unhealthy; why, its log says.
    """
    build = [] if os.environ.get("KAPPA_IMAGES_ARE_BUILT") else ["build"]
    files = " ".join(f"-f {shlex.quote(file)}" for file in docker_compose_file)
    compose = f"docker compose {files} -p {docker_compose_project_name}"
    failed = f"{{ {compose} ps --all; {compose} logs --no-color --tail 6; exit 1; }}"
    return [DOWN, *build, f"up --no-build --wait --wait-timeout 300 || {failed}"]


@pytest.fixture(scope="session")
def docker_cleanup() -> list[str]:
    """KAPPA_DOCKER_LOGS names a file for what all services said."""
    logs = os.environ.get("KAPPA_DOCKER_LOGS")
    kept = [f"logs --no-color --timestamps > {shlex.quote(logs)}"] if logs else []
    return [*kept, DOWN]


@pytest.fixture(scope="session")
def deployment(
    environment: None,
    docker_services: Services,
    docker_compose_project_name: str,
    docker_compose_file: list[str],
) -> Iterator[Deployment]:
    """All services are healthy; the command line waits in a container of its own."""
    found = Deployment(docker_compose_project_name, tuple(docker_compose_file))
    # of a run that was cut
    subprocess.run(["docker", "rm", "--force", found.client], check=False, capture_output=True)
    found.compose(
        "run", "--detach", "--name", found.client, "--entrypoint", "sleep", "kappa", "infinity"
    )
    yield found
    subprocess.run(["docker", "rm", "--force", found.client], check=False, capture_output=True)


@pytest.fixture(scope="session")
def orders(deployment: Deployment) -> Orders:
    """The tests' small product, deployed and published."""
    orders = Orders(
        deployment, int(os.environ["KAPPA_KAFKA_PORT"]), int(os.environ["KAPPA_REGISTRY_PORT"])
    )
    orders.create()
    orders.append(300)
    deployment.kappa("deploy", "orders", "--timeout", "240")
    return orders
