"""Names from people: those that would be a path, a part of SQL, a line of a terminal or another name are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.product.folder import ProductError, load_product
from replay.cli.new import new
from replay.errors import ConfigError
from tests.unit.folders import SETTINGS, changed, write

HOSTILE = {
    "nothing": "",
    "a space": " ",
    "up": "..",
    "here": ".",
    "a path up": "../x",
    "a path down": "a/b",
    "an absolute path": "/etc/passwd",
    "a path of Windows": "a\\b",
    "a line's end": "orders\n",
    "a line's end of Windows": "orders\r\n",
    "a line's end at the front": "\norders",
    "two lines": "a\nb",
    "another kind of line's end": "orders\u2028",
    "a NUL": "orders\0",
    "a sequence of a terminal": "a\x1b[31m",
    "a space at the end": "orders ",
    "a space that is not seen": "orders\u00a0",
    "no width": "or\u200bders",
    "from right to left": "orders\u202e",
    "a Cyrillic o": "\u043erders",
    "a Greek o": "\u03bfrders",
    "a full-width letter": "\uff4frders",
    "an umlaut": "m\u00e4rkte",
    "a composed umlaut": "ma\u0308rkte",
    "an Arabic digit": "a\u0661",
    "a ligature": "o\ufb01x",
    "an emoji": "a\U0001f600",
    "an escape": "a\\udcff",
    "a dash": "a-b",
    "a dash at the front": "-rf",
    "a dot": "a.b",
    "a hidden file": ".git",
    "a digit at the front": "1a",
    "a quote": "a'b",
    "a backtick": "a`b",
    "a double quote": 'a"b',
    "a second statement": "a; DROP TABLE b",
    "a comment": "a--",
    "an option": "a' = 'b",
    "a shell's command": "$(id)",
    "a variable": "%(ENV_HOME)s",
    "a brace": "a{b}",
    "very long": "a" * 101,
    "longer than a file's name": "a" * 300,
    "long, with a good end": "../" * 100 + "a",
}
GOOD = ["a", "a1", "orders", "orders_of_2024", "a_", "a" * 100]
FUNCTION = {"python": "udfs.x:f", "returns": "INT"}
REFERENCE = {"role": "reference", "key": ["a"]}


def named(kind: str, name: str) -> dict[str, Any]:
    """product.yaml in which one thing has this name."""
    changes = {
        "product": lambda s: s.update(name=name),
        "topic": lambda s: s["topics"].update({name: {**REFERENCE, "topic": "another"}}),
        "topic of Kafka": lambda s: s["topics"]["orders"].update(topic=name),
        "output": lambda s: s["outputs"].update({name: {}}),
        "function": lambda s: s["functions"].update({name: FUNCTION}),
        "module": lambda s: s["functions"].update(g={**FUNCTION, "python": f"{name}:f"}),
        "attribute": lambda s: s["functions"].update(g={**FUNCTION, "python": f"udfs.x:{name}"}),
        "look-up": lambda s: (
            s["topics"].update(shops=REFERENCE),
            s.update(lookups={name: {"shop": "shops"}}),
        ),
        "what is looked up": lambda s: (
            s["topics"].update(shops=REFERENCE),
            s.update(lookups={"a": {name: "shops"}}),
        ),
    }
    return changed(SETTINGS, changes[kind])


KINDS = (
    "product",
    "topic",
    "topic of Kafka",
    "output",
    "function",
    "module",
    "attribute",
    "look-up",
    "what is looked up",
)
FINE = {
    "topic of Kafka": {
        "a dash",
        "a dash at the front",
        "a dot",
        "a hidden file",
        "a digit at the front",
        "a comment",
        "very long",
    },
    "module": {"a dot", "very long", "longer than a file's name"},
    "attribute": {"very long", "longer than a file's name"},
}
"""What is a name there."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_name_is_refused_in_product_yaml(tmp_path: Path, kind: str, case: str) -> None:
    write(tmp_path)
    (tmp_path / "product.yaml").write_text(yaml.safe_dump(named(kind, HOSTILE[case])))
    if case in FINE.get(kind, ()):
        load(tmp_path)
        return
    with pytest.raises(ProductError) as e:
        load_product(tmp_path)
    assert e.value.file == tmp_path / "product.yaml"
    assert all(line.isprintable() for line in str(e.value).split("\n")), (
        "a name goes to a terminal as text"
    )
    assert len(str(e.value)) < 1_000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", GOOD)
def test_a_good_name_is_taken(tmp_path: Path, kind: str, name: str) -> None:
    write(tmp_path)
    name = f"x{name[:-1]}" if name == "orders" and kind in ("topic", "output", "look-up") else name
    (tmp_path / "product.yaml").write_text(yaml.safe_dump(named(kind, name)))
    load(tmp_path)


def load(folder: Path) -> None:
    """Read it with a file for whatever it names."""
    settings = yaml.safe_load((folder / "product.yaml").read_text())
    for topic in settings["topics"]:
        (folder / "schemas" / f"{topic}.avsc").write_text(
            (folder / "schemas" / "orders.avsc").read_text()
        )
    for output in settings["outputs"]:
        (folder / f"{output}.sql").touch()
    load_product(folder)


@pytest.mark.parametrize("case", HOSTILE)
def test_kappa_new_refuses_a_hostile_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.chdir(tmp_path)
    from replay.output import Output

    with pytest.raises(ConfigError) as e:
        new(HOSTILE[case], (), (), None, None, False, Output.text)
    assert e.value.next.isprintable() and len(str(e.value)) < 1_000
    assert [*tmp_path.iterdir()] == []


CHECKS = {
    name: text
    for name, text in HOSTILE.items()
    if "/" not in text and "\0" not in text and len(text) < 250
}


@pytest.mark.parametrize("case", CHECKS)
def test_a_hostile_name_of_a_check_is_refused(tmp_path: Path, case: str) -> None:
    write(tmp_path)
    (tmp_path / "checks" / f"{CHECKS[case]}.sql").write_text("SELECT 1 WHERE FALSE")
    if case in ("a dash", "a dot", "a digit at the front", "a space at the end", "a comment"):
        load_product(tmp_path)
        return
    with pytest.raises(ProductError) as e:
        load_product(tmp_path)
    assert e.value.file.parent == tmp_path / "checks" or "checks" in str(e.value.file)
    assert str(e.value).isprintable()


@pytest.mark.parametrize("name", ["hours_add_up", "2024", "no nulls", "a-b.c"])
def test_a_good_name_of_a_check_is_taken(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    (tmp_path / "checks" / f"{name}.sql").write_text("SELECT 1 WHERE FALSE")
    load_product(tmp_path)
