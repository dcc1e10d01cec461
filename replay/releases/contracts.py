"""contract.yaml of a product: compared with its outputs, written without losing a comment, and as git has it."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from jobs.product import contract
from jobs.product.contract import Table
from jobs.product.folder import Product
from jobs.product.model import Kind
from replay.errors import ConfigError, RefusedError

FILE = "contract.yaml"
PLACE = ("log_topic", "log_partition", "log_offset")
"""What rows get by themselves."""


def tables_of(product: Product) -> dict[str, Table]:
    """The product's outputs as a contract speaks of them."""
    return {
        name: Table(
            {c.name: c.type for c in output.columns},
            output.key or product.identity(output),
            generated=output.kind is Kind.rejects,
            added=PLACE if output.kind is Kind.rows else (),
        )
        for name, output in product.outputs.items()
    }


def refuse_mismatches(product: Product) -> None:
    """RefusedError that lists whatever the contract says otherwise than the SELECTs."""
    if found := [
        m for m in contract.compare(product.contract, tables_of(product)) if not m.left_out
    ]:
        lines = "".join(f"\n    {m}" for m in found)
        raise RefusedError(
            f"{product.folder / FILE} is not what the SQL gives:{lines}",
            next="fix the contract or the SELECT; what is new, and types: "
            f"kappa contract {product.name} --write",
        )


def written(file: Path, product: Product) -> tuple[str, list[str]]:
    """The contract with what it lacks, and what was added or changed; everything else is as people wrote it."""
    editor = _editor()
    try:
        document = editor.load(file.read_text()) if file.exists() else None
    except YAMLError as e:
        raise ConfigError(
            f"{file} is wrong", expected="YAML", found=" ".join(str(e).split()), next=f"fix {file}"
        ) from e
    if document is not None and not isinstance(document, dict):
        raise ConfigError(
            f"{file} is wrong",
            expected="a mapping",
            found=type(document).__name__,
            next=f"fix {file}",
        )
    if not document:
        document = contract.new(product.name, product.settings.description)
    done = contract.update(document, tables_of(product))
    text = io.StringIO()
    editor.dump(document, text)
    return text.getvalue(), done


def _editor() -> YAML:
    editor = YAML()  # round trip: comments, order, quotes and flow style stay
    editor.preserve_quotes = True
    editor.width = 4096  # lines are broken where people broke them
    editor.indent(mapping=2, sequence=4, offset=2)
    return editor


def read(file: Path) -> dict[str, Any]:
    """A contract; ConfigError when it is none."""
    try:
        return _parsed(file.read_text(), str(file))
    except OSError as e:
        raise ConfigError(
            f"{file} cannot be read", expected="a data contract", found=e.strerror or str(e)
        ) from e


def in_git_head(folder: Path) -> dict[str, Any] | None:
    """The product's contract as of the last commit; None: it had none. ConfigError where there is no commit."""

    def git(*args: str) -> subprocess.CompletedProcess[str]:
        command = ["git", "-C", str(folder), *args]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    try:
        head = git("rev-parse", "--verify", "--quiet", "HEAD")
    except OSError as e:
        raise _no_commit(folder, e.strerror or str(e)) from e
    if head.returncode != 0:
        raise _no_commit(folder, head.stderr.strip() or "no commit")
    if not git("ls-tree", "--name-only", "HEAD", "--", FILE).stdout.strip():
        return None
    return _parsed(git("show", f"HEAD:./{FILE}").stdout, f"{FILE} of git HEAD")


def _no_commit(folder: Path, found: str) -> ConfigError:
    return ConfigError(
        "there is no contract to compare with",
        expected=f"{folder} in a git repository with a commit",
        found=found,
        next="name the contract that readers rely on: --against FILE",
    )


def _parsed(text: str, name: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as e:
        raise ConfigError(
            f"{name} is wrong", expected="YAML", found=" ".join(str(e).split())
        ) from e
    if not isinstance(found, Mapping):
        raise ConfigError(f"{name} is wrong", expected="a mapping", found=type(found).__name__)
    return dict(found)
