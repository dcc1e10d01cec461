"""A product where Kafka, the registry and Flink let nobody in without a login, who may no more than it needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.running import free_port_base, wait_until
from tests.integration.secured import (
    FILES,
    JOB,
    NAME,
    SCHEMAS,
    SHOPS,
    SOLD,
    Secured,
    append,
    sales,
    write_product,
    write_sql,
)

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    made = Secured(tmp_path_factory.mktemp("secured"), free_port_base(41_000))
    try:
        made.up()
        yield made
    finally:
        made.down()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_product(tmp_path_factory.mktemp("sql") / NAME)


def rows(secured: Secured) -> dict[str, Any]:
    sql = "SELECT count(*) AS n, sum(cents) AS cents, count(city) AS cities FROM sale_rows"
    (found,) = secured.kappa.json("query", NAME, sql)
    return dict(found)


def wait_for(secured: Secured, expected: dict[str, Any]) -> None:
    wait_until(lambda: rows(secured) == expected, 240, lambda: f"{rows(secured)} is not {expected}")


def test_a_product_lives_with_the_least_of_permissions(secured: Secured, folder: Path) -> None:
    """Released, published, released again over mutual TLS, switched, audited, taken back."""
    kappa = secured.kappa
    owner, producer = secured.owner(), secured.producer()
    for topic in SCHEMAS:
        owner("topic", "create", topic, "--schema", str(folder / "schemas" / FILES[topic]))
    acls = ["acls", NAME, "--from", str(folder)]
    secured.allow(kappa.json(*acls))
    append(producer, SHOPS, '{"shop": "a", "city": "Oslo"}\n')
    append(producer, SOLD, sales(0, 100))

    kappa("deploy", NAME, "--from", str(folder), timeout=900)
    wait_for(secured, {"n": 100, "cents": sum(range(100)), "cities": 100})
    append(producer, SOLD, sales(100, 50))
    wait_for(secured, {"n": 150, "cents": sum(range(150)), "cities": 150})
    no_secret_is_elsewhere(secured)

    # The second release's job logs in with a certificate. The controller is told so when it starts.
    said = secured.config()
    said["kafka_java"] = {
        "bootstrap.servers": secured.mutual,
        "security.protocol": "SSL",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(secured.authority.ca),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(secured.authority.pem(JOB)),
    }
    secured.write_config(said)
    secured.restart("controller")
    secured.allow(
        [acl for acl in kappa.json(*acls, "--job", f"User:CN={JOB}") if acl["who"] == "job"]
    )
    write_sql(folder, " * 2")
    kappa("deploy", NAME, "--from", str(folder), timeout=900)
    wait_for(secured, {"n": 150, "cents": 2 * sum(range(150)), "cities": 150})
    append(producer, SOLD, sales(150, 50))
    wait_for(secured, {"n": 200, "cents": 2 * sum(range(200)), "cities": 200})
    audit = kappa.json("audit", NAME)
    assert audit["ok"], audit
    kappa("rollback", NAME)
    wait_for(secured, {"n": 200, "cents": sum(range(200)), "cities": 200})
    kappa("retire", NAME, "r2")


def no_secret_is_elsewhere(secured: Secured) -> None:
    """Than where it was put: not in logs, bindings, the archive, what Flink keeps, nor in arguments of processes."""
    home = secured.layout.home
    kept = [
        f
        for f in home.rglob("*")
        if f.is_file()
        and not f.is_symlink()
        and not f.is_relative_to(secured.layout.kafka_data)
        and holds(f, b"c4nary")
    ]
    assert kept == [], "files with a secret"
    arguments = [p for p in Path("/proc").glob("[0-9]*/cmdline") if holds(p, b"c4nary")]
    assert arguments == [], "processes with a secret among their arguments"
    shown = secured.kappa("config").stdout
    assert "c4nary" not in shown and "${env:SECURED_KAFKA}" in shown


def holds(file: Path, text: bytes) -> bool:
    try:
        return text in file.read_bytes()
    except OSError:  # it ended meanwhile
        return False
