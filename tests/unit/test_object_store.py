"""Files in a real object store: what the controller reads, lists and deletes there, and what it says when it fails."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog import Catalog

from jobs.product.folder import Product
from replay.controller import cleaning
from replay.core.model import CheckpointPosition
from replay.errors import RetryableError
from replay.flink import positions
from replay.flink import rest as flink
from replay.iceberg import commits, files, lake, publish, table_changes
from replay.iceberg.commits import no_fence
from replay.iceberg.durable import DurableFileIO
from replay.settings import Settings
from replay.storage import DamagedFileError, MissingFileError, StorageError, properties
from tests.object_store import BUCKET, ObjectStore
from tests.unit.lake_tables import COLUMNS, JOB, make_product, make_settings, sink_all

QUICK = {"s3.connect-timeout": "1", "s3.request-timeout": "1"}


@pytest.fixture
def io(on_objects: Settings) -> DurableFileIO:
    return DurableFileIO(properties(on_objects))


@pytest.fixture
def folder(on_objects: Settings) -> str:
    return on_objects.flink.checkpoints.rpartition("/")[0]


def put(io: DurableFileIO, location: str, content: bytes) -> None:
    with io.new_output(location).create(overwrite=True) as stream:
        stream.write(content)


def test_a_file_comes_into_being_whole_or_not_at_all(io: DurableFileIO, folder: str) -> None:
    with pytest.raises(KeyboardInterrupt), io.new_output(f"{folder}/torn").create() as stream:  # noqa: PT012
        stream.write(b"half")
        raise KeyboardInterrupt
    put(io, f"{folder}/whole", b"all of it")
    assert [f.name for f in files.listed(io, folder)] == ["whole"]
    with pytest.raises(FileExistsError):
        io.new_output(f"{folder}/whole").create()
    with io.new_input(f"{folder}/whole").open() as stream:
        assert stream.read() == b"all of it"


def test_files_are_listed_with_the_stores_own_dates_and_deleted(
    io: DurableFileIO, folder: str
) -> None:
    assert files.listed(io, f"{folder}/nothing") == []
    for name in ("a", "b/c", "b/d"):
        put(io, f"{folder}/{name}", b"x")
    found = files.listed(io, folder)
    assert {f.location for f in found} == {f"{folder}/{name}" for name in ("a", "b/c", "b/d")}
    assert files.newest(found) - min(f.changed for f in found) < timedelta(minutes=1)
    files.delete(io, [f"{folder}/a", f"{folder}/was never there"])
    files.delete_below(io, f"{folder}/b")
    files.delete_below(io, f"{folder}/b")
    assert files.listed(io, folder) == []


def test_a_bucket_is_never_removed(on_objects: Settings, io: DurableFileIO) -> None:
    for whole in (f"s3://{BUCKET}", f"s3://{BUCKET}/"):
        with pytest.raises(ValueError, match="is a whole file system"):
            cleaning.remove_checkpoints(on_objects, whole)
        with pytest.raises(ValueError, match="is a whole file system"):
            files.delete_below(io, whole)


def test_checkpoints_and_their_positions(on_objects: Settings, io: DurableFileIO) -> None:
    attempt = f"{on_objects.flink.checkpoints}/shop/r1-a1"
    for file in ("chk-3/_metadata", "chk-4/part", "shared/x"):
        put(io, f"{attempt}/{JOB}/{file}", b"x")
    put(io, f"{attempt}/{JOB}/positions/orders/source", b"{}\n")
    put(io, f"{attempt}/{JOB}/positions/orders/3", json.dumps({"orders": {"0": [5, 7]}}).encode())
    assert flink.retained_checkpoints(on_objects, attempt, (JOB, "other")) == {
        3: f"{attempt}/{JOB}/chk-3"
    }
    assert positions.newest(on_objects, attempt, JOB, ["orders"], 2) == CheckpointPosition(
        3, {"orders": {0: 5}}, {"orders": {0: 7}}
    )
    assert positions.newest(on_objects, attempt, "other", ["orders"], 2) is None
    cleaning.remove_checkpoints(on_objects, attempt)
    cleaning.remove_checkpoints(on_objects, attempt)
    assert flink.retained_checkpoints(on_objects, attempt, (JOB,)) == {}


# Tables, and a store that fails


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return make_product(tmp_path, columns={"orders": COLUMNS["orders"]})


@pytest.fixture
def catalog(on_objects: Settings, product: Product) -> Catalog:
    made = lake.open_catalog(on_objects)
    table_changes.ensure(made, product)
    lake.create_branch(made, product, "r1-a1")
    return made


def test_a_missing_and_a_torn_file_of_a_table_are_named(
    on_objects: Settings, catalog: Catalog, product: Product, io: DurableFileIO
) -> None:
    sink_all(catalog, product, "r1-a1", 1)
    table = catalog.load_table(("shop", "orders"))
    listed, pointed = table.metadata.snapshots[-1].manifest_list, table.metadata_location

    put(io, listed, b"Obj\1 but no more")
    with pytest.raises(DamagedFileError) as torn:
        cleaning.garbage(catalog, "shop", ["orders"], "r1-a1")
    assert str(torn.value).splitlines() == [
        "a file of a table is damaged",
        f"  expected: a manifest of Iceberg in Avro at {listed}",
        "  found:    16 bytes that are no such file",
        "  next:     restore the file from a backup",
    ]
    io.delete(listed)
    with pytest.raises(MissingFileError) as missing:
        cleaning.garbage(catalog, "shop", ["orders"], "r1-a1")
    assert (missing.value.message, missing.value.expected) == ("a file is missing", listed)

    put(io, pointed, b'{"format-version":')
    with pytest.raises(
        DamagedFileError, match=r"(?s)damaged.*metadata of Iceberg in JSON at .*found: +18 bytes"
    ):
        lake.published(lake.open_catalog(on_objects), product)
    io.delete(pointed)
    with pytest.raises(MissingFileError, match=pointed):
        lake.published(lake.open_catalog(on_objects), product)


def test_a_store_that_refuses(
    on_objects: Settings,
    object_store: ObjectStore,
    catalog: Catalog,
    product: Product,
    tmp_path: Path,
) -> None:
    wrong = make_settings(
        tmp_path,
        on_objects.flink.checkpoints.rpartition("/")[0],
        {**object_store.properties, "s3.secret-access-key": "not it"},
    )
    with pytest.raises(StorageError) as e:
        lake.published(lake.open_catalog(wrong), product)
    assert e.value.message == "the storage refuses access"
    assert e.value.expected.startswith("permission for s3://lake/")
    assert "not it" not in str(e.value)
    with pytest.raises(StorageError, match="the storage refuses access"):
        positions.newest(wrong, on_objects.flink.checkpoints, JOB, ["orders"], 0)


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[ObjectStore]:
    """A store of its own, which the test stops."""
    store = ObjectStore(tmp_path / "store")
    store.start()
    yield store
    store.stop(signal.SIGKILL)


def test_a_store_that_is_down_or_hangs_is_waited_for_and_nothing_is_lost(
    failing: ObjectStore, tmp_path: Path, product: Product
) -> None:
    settings = make_settings(tmp_path, f"s3://{BUCKET}/own", {**failing.properties, **QUICK})
    catalog = lake.open_catalog(settings)
    table_changes.ensure(catalog, product)
    lake.create_branch(catalog, product, "r1-a1")
    target, before = (
        sink_all(catalog, product, "r1-a1", 7),
        lake.published(catalog, product).snapshots,
    )

    def publishing() -> None:
        publish.publish(catalog, product, target, before, fence=no_fence, sleep=lambda _: None)

    failing.pause()
    with pytest.raises(StorageError):
        lake.published(lake.open_catalog(settings), product)
    failing.go_on()
    failing.stop(signal.SIGKILL)
    with pytest.raises(RetryableError) as down:
        publishing()
    assert (
        down.value.message
        == "main of product shop could not be moved: the object store does not answer"
    )
    with pytest.raises(StorageError, match="the object store does not answer"):
        flink.retained_checkpoints(settings, settings.flink.checkpoints, (JOB,))
    failing.start()
    assert lake.published(lake.open_catalog(settings), product).snapshots == before
    publishing()
    assert lake.published(lake.open_catalog(settings), product).snapshots == target


def test_a_store_that_is_killed_at_any_moment_of_a_publication(
    failing: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers see all tables at one checkpoint, whichever: metadata is there before the catalog's transaction."""
    settings = make_settings(tmp_path, f"s3://{BUCKET}/own", {**failing.properties, **QUICK})
    product = make_product(tmp_path, columns={t: COLUMNS[t] for t in ("orders", "totals")})
    catalog = lake.open_catalog(settings)
    table_changes.ensure(catalog, product)
    lake.create_branch(catalog, product, "r1-a1")
    stage, staged = commits._stage, list[str]()

    def kill() -> None:
        failing.stop(signal.SIGKILL)

    def killed_after_one_table(*arguments: Any) -> Any:
        if staged:
            kill()
        staged.append("a table")
        return stage(*arguments)

    for checkpoint, moment, moved in (
        (1, "after one table", False),
        (2, "before the transaction", True),
    ):
        target, before = (
            sink_all(catalog, product, "r1-a1", checkpoint),
            lake.published(catalog, product).snapshots,
        )
        with monkeypatch.context() as patched:
            if moved:
                publish.publish(catalog, product, target, before, fence=kill, sleep=lambda _: None)
            else:
                patched.setattr(commits, "_stage", killed_after_one_table)
                with pytest.raises(StorageError, match="main of product shop could not be moved"):
                    publish.publish(
                        catalog, product, target, before, fence=no_fence, sleep=lambda _: None
                    )
        failing.start()
        found = lake.published(lake.open_catalog(settings), product)
        assert found.snapshots == (target if moved else before), moment
        publish.publish(catalog, product, target, before, fence=no_fence, sleep=lambda _: None)
        assert lake.published(lake.open_catalog(settings), product).checkpoint == checkpoint
