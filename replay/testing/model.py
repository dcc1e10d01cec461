"""The files in `tests/` of a product: named tests with the events that are given and the rows that are expected."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from jobs.product.folder import TESTS
from jobs.product.names import did_you_mean
from replay.errors import ConfigError
from replay.testing import plain_yaml


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Expected(_Strict):
    """Rows of one output."""

    rows: tuple[dict[str, Any], ...]
    """In any order. Columns that a row leaves out are not compared."""
    partial: bool = False
    """Whether there may be other rows besides."""


class Body(_Strict):
    """What a test says."""

    description: str = ""
    given: dict[str, tuple[Any, ...]] = Field(min_length=1)
    """Events of each topic, by its name in product.yaml."""
    expect: dict[str, Expected] | None = None
    """Rows of each output. None: `kappa test --record` writes them."""

    @field_validator("given")
    @classmethod
    def _some(cls, given: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        if not any(given.values()):
            raise ValueError("at least one event: a test of no event tests nothing")
        return given

    @field_validator("expect", mode="before")
    @classmethod
    def _lists(cls, expect: Any) -> Any:
        """A list alone is all the rows."""
        if not isinstance(expect, dict):
            return expect
        if not expect:
            raise ValueError(
                "at least one output; leave `expect` out, and kappa test --record writes it"
            )
        return {k: {"rows": v} if isinstance(v, list) else v for k, v in expect.items()}


@dataclass(frozen=True)
class Case:
    """One test, and where it stands."""

    file: Path
    name: str
    body: Body

    def wrong(self, where: str, expected: str, found: str) -> ConfigError:
        """What is wrong with it."""
        said = f": {where}" if where else ""
        return ConfigError(
            f"test '{self.name}' of {self.file}{said}",
            expected=expected,
            found=found,
            next=f"fix {self.file}",
        )


def files(folder: Path) -> list[Path]:
    """The files of a product's tests."""
    return sorted(f for f in (folder / TESTS).rglob("*") if f.suffix in (".yaml", ".yml"))


def read(folder: Path) -> list[Case]:
    """Every test of a product; ConfigError says which file to fix, and for a name that two tests have."""
    found: dict[str, Case] = {}
    for file in files(folder):
        for case in _read(file):
            if other := found.get(case.name):
                raise case.wrong("", "a name that no other test has", f"it is in {other.file}, too")
            found[case.name] = case
    return list(found.values())


def _read(file: Path) -> list[Case]:
    try:
        said = plain_yaml.load(file.read_text())
    except (UnicodeDecodeError, yaml.YAMLError) as e:
        raise _file_wrong(file, "YAML", str(e)) from e
    if not isinstance(said, dict) or not said:
        raise _file_wrong(file, "name of a test: {given: …, expect: …}", _kind(said))
    return [_case(file, name, body) for name, body in said.items()]


def _file_wrong(file: Path, expected: str, found: str) -> ConfigError:
    return ConfigError(f"{file} is wrong", expected=expected, found=found, next=f"fix {file}")


def _kind(said: Any) -> str:
    return "nothing" if not said else type(said).__name__


def _case(file: Path, name: Any, body: Any) -> Case:
    if not isinstance(name, str) or not name.isprintable() or not name.strip():
        raise _file_wrong(file, "the name of a test, a text on one line", repr(name))
    try:
        return Case(file, name, Body.model_validate(body))
    except ValidationError as e:
        problems = e.errors()  # a misspelt field is more likely than one that was forgotten
        first = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
        where = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            known = Expected if len(first["loc"]) > 1 else Body
            names = list(known.model_fields)
            meant = did_you_mean(str(first["loc"][-1]), names) or f"one of {', '.join(names)}"
            raise Case(file, name, _NOTHING).wrong(where, meant, str(first["loc"][-1])) from e
        said = first["msg"].removeprefix("Value error, ")
        raise Case(file, name, _NOTHING).wrong(where, said, repr(first.get("input"))[:200]) from e


_NOTHING = Body.model_construct(given={})


def chosen(cases: Sequence[Case], wanted: Iterable[str]) -> list[Case]:
    """The tests of these names, patterns of names or files; ConfigError for one that is nothing of this."""
    patterns = list(wanted)
    if not patterns:
        return list(cases)
    found = {p: [c for c in cases if _is(c, p)] for p in patterns}
    for pattern, of in found.items():
        if not of:
            names = [c.name for c in cases]
            raise ConfigError(
                f"there is no test '{pattern}'",
                expected=did_you_mean(pattern, names) or f"one of {', '.join(names)}",
                found=pattern,
                next="kappa test PRODUCT, which runs them all",
            )
    return [c for c in cases if any(c in of for of in found.values())]


def _is(case: Case, pattern: str) -> bool:
    names = (case.name, case.file.name, case.file.stem)
    return pattern in names or fnmatch.fnmatchcase(case.name, pattern)
