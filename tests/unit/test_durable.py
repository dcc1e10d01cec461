"""What a power cut leaves of tables: a file that was not written to the disk is empty then, or has no name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.io.pyarrow import PyArrowFileIO

from replay.iceberg import durable, file_io, lake, publish, table_changes
from replay.iceberg.commits import no_fence
from replay.iceberg.durable import DurableFileIO
from replay.settings import Settings
from tests.unit.lake_tables import make_product, make_settings, sink_all


class Disk:
    """What `fsync` was asked to keep: files by their size, folders by the names in them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files: dict[int, int] = {}
        self.names: set[tuple[int, str]] = set()
        fsync = os.fsync

        def noted(descriptor: int) -> None:
            fsync(descriptor)
            status, path = os.fstat(descriptor), os.readlink(f"/proc/self/fd/{descriptor}")
            if os.path.isdir(path):
                self.names |= {(status.st_ino, name) for name in os.listdir(path)}
            else:
                self.files[status.st_ino] = status.st_size

        monkeypatch.setattr(os, "fsync", noted)
        monkeypatch.setattr(durable, "_known", set())

    def cut_the_power(self, root: Path) -> list[Path]:
        """Tear what the disk does not have; which files that was."""
        torn = []
        for file in [f for f in root.rglob("*") if f.is_file()]:
            named = all(
                (inner.parent.stat().st_ino, inner.name) in self.names
                for inner in (file, *file.parents)
                if inner.is_relative_to(root) and inner != root
            )
            if not named or self.files.get(file.stat().st_ino) != file.stat().st_size:
                file.write_bytes(b"")
                torn.append(file)
        return torn


def published(settings: Settings, folder: Path) -> None:
    """Tables with one published checkpoint."""
    catalog, product = lake.open_catalog(settings), make_product(folder)
    table_changes.ensure(catalog, product)
    lake.create_branch(catalog, product, "r1-a1")
    target = sink_all(catalog, product, "r1-a1", 7)
    publish.publish(
        catalog, product, target, lake.published(catalog, product).snapshots, fence=no_fence
    )


def test_what_readers_see_outlives_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, settings = Disk(monkeypatch), make_settings(tmp_path)
    published(settings, tmp_path)
    assert disk.cut_the_power(tmp_path / "lake" / "warehouse") == []
    catalog, product = lake.open_catalog(settings), make_product(tmp_path)
    assert lake.published(catalog, product).checkpoint == 7
    for name in product.outputs:
        assert catalog.load_table(("shop", name)).scan().to_arrow().num_rows == 0


def test_without_it_a_power_cut_tears_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_settings(tmp_path)
    chosen = {**made.catalog.pyiceberg, "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO"}
    settings = made.model_copy(
        update={"catalog": made.catalog.model_copy(update={"pyiceberg": chosen})}
    )
    disk = Disk(monkeypatch)
    published(settings, tmp_path)
    assert disk.cut_the_power(tmp_path / "lake" / "warehouse")
    with pytest.raises(Exception):  # noqa: B017, PT011  whatever a reader says of an empty file
        lake.published(lake.open_catalog(settings), make_product(tmp_path))


@pytest.mark.parametrize(
    ("warehouse", "durably"),
    [
        ("file:///a", True),
        ("file:/a", True),
        ("/a", True),
        ("s3://a", False),
        ("hdfs://a/b", False),
        ("bucket", False),
        (None, False),
    ],
)
def test_only_local_files_need_it(warehouse: str | None, durably: bool) -> None:
    properties = {"warehouse": warehouse} if warehouse else {}
    assert file_io.of_flink(properties).get("io-impl") == (
        "kappa.lake.DurableFileIO" if durably else None
    )
    assert file_io.of_pyiceberg(properties)["py-io-impl"] == "replay.iceberg.durable.DurableFileIO"


def test_who_chose_another_keeps_it() -> None:
    chosen = {"warehouse": "file:///a", "io-impl": "org.example.IO", "py-io-impl": "example.IO"}
    assert file_io.of_flink(chosen) == file_io.of_pyiceberg(chosen) == chosen


def test_a_file_is_replaced_only_when_asked(tmp_path: Path) -> None:
    io: Any = DurableFileIO()
    assert isinstance(io, PyArrowFileIO)
    file = io.new_output(f"file://{tmp_path}/new/folder/a")
    with file.create() as stream:
        stream.write(b"one")
    stream.close()
    with pytest.raises(FileExistsError):
        file.create()
    with file.create(overwrite=True) as stream:
        stream.write(b"two")
    with file.to_input_file().open() as written:
        assert written.read() == b"two"
    assert len(file) == 3
