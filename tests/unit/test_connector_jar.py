"""Building the format's jar, with a stand-in for the Java runtime."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from local import connector_jar
from local.connector_jar import MAIN, build_connector_jar, fingerprint, write_jar
from replay.errors import ConfigError

SERVICES = "META-INF/services/org.apache.flink.table.factories.Factory"


@dataclass
class Workshop:
    """Sources, a compiler that 'compiles' every .java file to its own text, and where the jar goes."""

    root: Path

    def __post_init__(self) -> None:
        self.source = self.root / "src"
        (self.source / "java" / "kappa").mkdir(parents=True)
        (self.source / "resources" / "META-INF").mkdir(parents=True)
        (self.source / "resources" / "META-INF" / "note").write_text("n")
        self.write("B", "class B {}")
        self.write("A", "class A {}")
        self.log = self.root / "compiled"
        self.java = self.root / "java"
        self.java.write_text(f"""#!/bin/sh
echo run >> {self.log}
while [ "$1" != -d ]; do shift; done
mkdir -p "$2/kappa"
for file in "$3"/kappa/*.java; do
    if grep -q wrong "$file"; then echo "ERROR in $(basename "$file")" >&2; exit 1; fi
    cp "$file" "$2/kappa/$(basename "$file" .java).class"
done
""")
        self.java.chmod(0o755)

    def write(self, name: str, text: str) -> None:
        (self.source / "java" / "kappa" / f"{name}.java").write_text(text)

    def build(self, out: str = "kappa-connector.jar", ecj: str = "ecj-1.jar") -> Path:
        return build_connector_jar(
            self.java, Path(ecj), [Path("flink.jar")], self.root / "out" / out, source=self.source
        )

    @property
    def compiled(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def test_the_jar_holds_classes_and_resources_in_order(workshop: Workshop) -> None:
    with zipfile.ZipFile(workshop.build()) as jar:
        assert jar.namelist() == [
            "META-INF/MANIFEST.MF",
            "META-INF/note",
            "kappa/A.class",
            "kappa/B.class",
        ]
        assert jar.read("META-INF/MANIFEST.MF") == b"Manifest-Version: 1.0\r\n\r\n"
        assert {entry.date_time for entry in jar.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_same_sources_give_the_same_bytes(workshop: Workshop) -> None:
    assert workshop.build("one.jar").read_bytes() == workshop.build("two.jar").read_bytes()
    assert workshop.compiled == 2


def test_it_compiles_only_when_something_changed(workshop: Workshop) -> None:
    workshop.build()
    workshop.build()
    assert workshop.compiled == 1
    workshop.write("A", "class A { int changed; }")
    with zipfile.ZipFile(workshop.build()) as jar:
        assert b"changed" in jar.read("kappa/A.class")
    assert workshop.compiled == 2
    workshop.build(ecj="ecj-2.jar")
    assert workshop.compiled == 3


@pytest.mark.parametrize("damage", ["empty", "text", "one bit flipped"])
def test_a_damaged_jar_is_built_again(workshop: Workshop, damage: str) -> None:
    jar = workshop.build()
    whole = jar.read_bytes()
    # in the first entry's compressed bytes
    inside = whole.index(b"MANIFEST.MF") + len(b"MANIFEST.MF") + 3
    flipped = whole[:inside] + bytes([whole[inside] ^ 1]) + whole[inside + 1 :]
    jar.write_bytes({"empty": b"", "text": b"not a zip", "one bit flipped": flipped}[damage])
    assert workshop.build().read_bytes() == whole


def test_an_error_names_the_place_and_keeps_the_old_jar(workshop: Workshop) -> None:
    whole = workshop.build().read_bytes()
    workshop.write("B", "wrong")
    with pytest.raises(ConfigError) as caught:
        workshop.build()
    assert caught.value.found == "ERROR in B.java"
    assert (workshop.root / "out" / "kappa-connector.jar").read_bytes() == whole
    assert [file.name for file in (workshop.root / "out").iterdir()] == ["kappa-connector.jar"]


def test_the_fingerprint_tells_moved_text_apart(tmp_path: Path) -> None:
    prints = set()
    for number, (first, second) in enumerate([("ab", "c"), ("a", "bc")]):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "x").write_text(first)
        (folder / "y").write_text(second)
        prints.add(fingerprint(folder, Path("ecj.jar"), []))
    assert len(prints) == 2


def test_write_jar_sorts_what_it_is_given(tmp_path: Path) -> None:
    for name, entries in {"a": [("x", b"1"), ("y", b"2")], "b": [("y", b"2"), ("x", b"1")]}.items():
        write_jar(tmp_path / name, "comment", entries)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert connector_jar.built_from(tmp_path / "a") == "comment"


def test_the_service_file_names_every_factory() -> None:
    kinds = "(DeserializationFormat|DynamicTableSource|DynamicTableSink)Factory"
    java = MAIN / "java"
    factories = {
        ".".join(source.relative_to(java).with_suffix("").parts)
        for source in java.rglob("*Factory.java")
        if re.search(f"class {source.stem} implements {kinds}", source.read_text())
    }
    names = (MAIN / "resources" / SERVICES).read_text().splitlines()
    assert sorted(names) == sorted(factories)
