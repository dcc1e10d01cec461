"""An object store with a certificate of an authority of one's own: PyArrow, DuckDB, and Java's trust store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import pkcs12

from local import config_file, flink, objects
from local.layout import Layout
from replay.errors import ConfigError
from replay.storage import AUTHORITIES
from tests.object_store import BUCKET, ObjectStore
from tests.unit.certificates import Authority

USE = """
import sys
from pathlib import Path
from replay.iceberg import lake, table_changes
from replay.query.query import open_tables, query
from tests.unit.lake_tables import make_product, make_settings, publish, sink, sink_all

home, endpoint, key, secret = sys.argv[1:]
storage = {"s3.endpoint": endpoint, "s3.access-key-id": key, "s3.secret-access-key": secret}
settings, product = make_settings(Path(home), "s3://lake/secure", storage), make_product(Path(home))
catalog = lake.open_catalog(settings)
table_changes.ensure(catalog, product)
lake.create_branch(catalog, product, "r1-a1")
at = sink_all(catalog, product, "r1-a1", 1)
publish(catalog, product, {**at, "orders": sink(catalog, "orders", "r1-a1", 1, [{"id": 7}])})
print(query(settings, "shop", "SELECT sum(id) AS ids FROM orders").rows)
with open_tables(settings, "shop") as connection:
    print(connection.execute("SELECT sum(id) FROM orders").fetchall())
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[ObjectStore]:
    made = ObjectStore(tmp_path_factory.mktemp("store"), certificate=authority.pem("s3"))
    made.start()
    yield made
    made.stop(signal.SIGKILL)


def use(
    home: Path, store: ObjectStore, authorities: Path | None
) -> subprocess.CompletedProcess[str]:
    """In a process of its own: PyArrow looks once at whom it is to trust."""
    environment = {name: value for name, value in os.environ.items() if name != AUTHORITIES}
    if authorities:
        environment[AUTHORITIES] = str(authorities)
    keys = store.properties["s3.access-key-id"], store.properties["s3.secret-access-key"]
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", USE, str(home), store.endpoint, *keys],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_tables_are_written_and_queried_over_tls(
    store: ObjectStore, authority: Authority, tmp_path: Path
) -> None:
    assert store.endpoint.startswith("https://")
    done = use(tmp_path, store, authority.ca)
    assert done.stdout.splitlines() == ["[{'ids': 7}]", "[(7,)]"], done.stderr


@pytest.mark.parametrize("other", [False, True], ids=["the system", "another authority"])
def test_a_store_that_nobody_vouches_for_is_named(
    store: ObjectStore, tmp_path: Path, other: bool
) -> None:
    trusted = Authority(tmp_path, "other").ca if other else None
    done = use(tmp_path, store, trusted)
    assert done.returncode == 1
    assert "the certificate of the object store is not trusted" in done.stderr
    assert f"set {AUTHORITIES} to a PEM file of who signed it" in done.stderr


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A home whose config.yaml names an object store."""
    made = Layout(tmp_path)
    said = config_file.settings_of(made)
    said |= {"storage": {"s3.endpoint": "https://store"}}
    catalog = said["catalog"]
    assert isinstance(catalog, dict)
    catalog["pyiceberg"]["warehouse"] = f"s3://{BUCKET}/tables"
    made.settings.write_text(yaml.safe_dump(said))
    return made


def test_java_trusts_the_same(
    layout: Layout, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(AUTHORITIES, str(authority.ca))
    objects.write_truststore(layout)
    found = pkcs12.load_pkcs12(layout.truststore.read_bytes(), b"changeit").additional_certs
    assert [one.certificate.subject.rfc4514_string() for one in found] == ["CN=kappa-test"]
    options = str(flink.settings(layout, flink.session(layout), "")["env.java.opts.all"])
    assert options.endswith(
        f" -Djavax.net.ssl.trustStore={layout.truststore} -Djavax.net.ssl.trustStoreType=PKCS12 "
        "-Djavax.net.ssl.trustStorePassword=changeit"
    )
    monkeypatch.delenv(AUTHORITIES)
    objects.write_truststore(layout)
    assert objects.java_options(layout) == ""


def test_a_file_of_no_certificates_is_refused(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(AUTHORITIES, str(layout.settings))
    with pytest.raises(ConfigError, match="SSL_CERT_FILE cannot be used"):
        objects.write_truststore(layout)
