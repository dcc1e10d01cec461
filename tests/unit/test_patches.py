"""The patches of Flink's classes: made for one class file each, and first on the class path."""

from __future__ import annotations

import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from local import flink
from local.patches import JAR_NAME, OURS, PATCHES, Patch, original
from replay.errors import ConfigError

PATCH = replace(
    PATCHES[0],
    type="org/flink/Some",
    artifact="flink-some",
    release="2.1.3",
    sha256="acc92386d30041e9fea27a1b2412398080a7d29fafe78aee1fccef20083e1303",
)
NEXT = (
    "install the pinned apache-flink again; for another release of Flink, see whether it cures FLINK-38075, "
    "FLINK-36664, then adapt or remove the patch in local/patches.py"
)


def some_jar(folder: Path, name: str = "flink-some-2.1.3.jar", **classes: bytes) -> list[Path]:
    """Jars of a Flink: one that has the class, and one before it with a like name."""
    for file, content in {"flink-some-more-2.1.3.jar": {}, name: classes}.items():
        with zipfile.ZipFile(folder / file, "w") as jar:
            for entry, data in content.items():
                jar.writestr(f"org/flink/{entry}.class", data)
    return sorted(folder.glob("*.jar"))


def test_the_class_that_a_patch_was_made_for_is_taken(tmp_path: Path) -> None:
    assert original(PATCH, some_jar(tmp_path, Some=b"bytes!")) == b"bytes!"


@pytest.mark.parametrize(
    ("jars", "found"),
    [
        (
            {"name": "flink-some-2.2.0.jar", "Some": b"others"},
            "SHA-256 01db91d06032cc64162c16f8e35725b0e632beebdde8b2c2459979d04fb1e20c in flink-some-2.2.0.jar",
        ),
        ({"Other": b"bytes!"}, "no such class in flink-some-2.1.3.jar"),
        ({"name": "flink-other-2.1.3.jar"}, "no flink-some-*.jar in Flink's lib"),
    ],
    ids=["another class", "no class", "no jar"],
)
def test_any_other_is_refused(tmp_path: Path, jars: dict[str, Any], found: str) -> None:
    with pytest.raises(ConfigError) as caught:
        original(PATCH, some_jar(tmp_path, **jars))
    assert caught.value.as_dict() == {
        "error": "ConfigError",
        "message": "Flink's class org/flink/Some is not the one that its patch was made for",
        "expected": f"SHA-256 {PATCH.sha256}, as in flink-some-2.1.3.jar",
        "found": found,
        "next": NEXT,
    }


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.type)
def test_the_pinned_flink_has_the_classes_that_are_patched(patch: Patch) -> None:
    assert original(patch, flink.lib_jars())


@pytest.mark.parametrize("by", sorted({r.by for patch in PATCHES for r in patch.replacements}))
def test_what_takes_their_place_is_ours(by: str) -> None:
    owner, method = by.rsplit(".", 1)
    assert re.search(rf" static \w+ {method}\(", (OURS / "java" / f"{owner}.java").read_text())


def test_the_patches_come_first_on_flinks_class_path() -> None:
    assert min([JAR_NAME, *(jar.name for jar in flink.lib_jars())]) == JAR_NAME
