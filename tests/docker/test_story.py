"""A product on docker-compose.yml from an empty log to a switch of readers and back."""

from __future__ import annotations

from pathlib import Path

from tests.docker.deployment import Deployment, Orders, run, wait_until

ROWS = "SELECT count(*) AS orders, sum(cents)::BIGINT AS cents FROM order_rows"


def test_nothing_is_published_but_on_loopback(deployment: Deployment) -> None:
    ports = run(
        "docker",
        "ps",
        "--filter",
        f"label=com.docker.compose.project={deployment.project}",
        "--format",
        "{{.Ports}}",
    )
    published = [port for line in ports.splitlines() for port in line.split(", ") if "->" in port]
    assert len(published) == 5
    assert {port.rpartition(":")[0] for port in published} == {"127.0.0.1"}


def test_no_process_of_ours_is_root_or_may_write_to_its_image(deployment: Deployment) -> None:
    for service in ("controller", "jobmanager", "taskmanager"):
        found = deployment.inspect(deployment.container(service))
        assert found["Config"]["User"] == "kappa", service
        assert found["HostConfig"]["ReadonlyRootfs"], service
        assert found["HostConfig"]["CapDrop"] == ["ALL"], service


def test_no_container_has_a_secret_in_its_environment_or_arguments(
    deployment: Deployment, secrets: list[str]
) -> None:
    for service in (
        "kafka",
        "postgres",
        "registry",
        "s3",
        "jobmanager",
        "taskmanager",
        "controller",
    ):
        found = deployment.inspect(deployment.container(service))
        said = str(found["Config"]["Env"]) + str(found["Config"]["Cmd"]) + str(found["Args"])
        assert not [secret for secret in secrets if secret in said], service


def test_orders_are_published_and_accounted_for(orders: Orders) -> None:
    orders.check()


def test_readers_are_switched_to_a_second_release_and_back(orders: Orders, products: Path) -> None:
    kappa, query = orders.deployment.kappa, products / "orders" / "order_rows.sql"
    orders.wait_published()
    (first,) = orders.deployment.json("query", "orders", ROWS)
    query.write_text(query.read_text().replace("cents", "cents * 2 AS cents"))
    checks = products / "orders" / "checks"
    (checks / "hours_add_up.sql").unlink()  # the hours are of single cents
    kappa("deploy", "orders", "--no-auto-switch", "--timeout", "240")
    kappa("switch", "orders")
    doubled = {"orders": first["orders"], "cents": 2 * first["cents"]}
    wait_until(
        lambda: orders.deployment.json("query", "orders", ROWS) == [doubled], 60, "readers see r2"
    )
    kappa("rollback", "orders")
    wait_until(
        lambda: orders.deployment.json("query", "orders", ROWS) == [first],
        60,
        "readers see r1 again",
    )
    kappa("retire", "orders", "r2")
    orders.check()
