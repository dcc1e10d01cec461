"""A product on docker-compose.yml from an empty log to a switch of readers and back."""

from __future__ import annotations

from pathlib import Path

from tests.docker.deployment import Deployment, Orders, run, wait_until

SERVICES = ("kafka", "postgres", "registry", "s3", "jobmanager", "taskmanager", "controller")
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


def test_no_process_has_capabilities_and_only_the_object_store_is_root(
    deployment: Deployment,
) -> None:
    """The kernel is asked: what Docker was told is in docker-compose.yml."""
    for service in SERVICES:
        process = Path("/proc") / str(
            deployment.inspect(deployment.container(service))["State"]["Pid"]
        )
        said = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
        assert int(said["CapEff"], 16) == int(said["CapBnd"], 16) == 0, service
        assert said["NoNewPrivs"] == "1", service
        assert (process.stat().st_uid == 0) == (service == "s3"), service


def test_images_of_ours_and_of_the_stores_cannot_be_written_to(deployment: Deployment) -> None:
    for service in ("controller", "jobmanager", "taskmanager", "postgres", "s3"):
        said = run(
            "docker",
            "exec",
            deployment.container(service),
            "sh",
            "-c",
            "touch /usr/bin/x /etc/x 2>&1 || true",
        )
        assert said.count("Read-only file system") == 2, (service, said)


def test_no_container_has_a_secret_in_its_environment_or_arguments(
    deployment: Deployment, secrets: list[str]
) -> None:
    for service in SERVICES:
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
