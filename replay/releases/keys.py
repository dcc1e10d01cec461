"""The keys of a product's functions: which there are, their ids, and that a release's key outlives its successor."""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import udfs
from jobs.product.folder import Product
from replay.errors import ConfigError, ConflictError
from replay.releases import closure
from replay.settings import Settings
from udfs.keys import NAMED, kept, key_id

Keys = Mapping[str, str]
"""Name of a key's file in the folder of secrets → its id."""
_DECLARED = "SECRETS"
"""What a module in udfs/ calls the names of the secret files that it reads."""


def ids(settings: Settings, product: Product) -> Keys:
    """The keys that this product's functions would use now; ConfigError when one is missing."""
    return {name: _id(settings.secrets / name) for name in sorted(names(product))}


def names(product: Product) -> frozenset[str]:
    """Secret files that the product's functions read: their modules say so, and so do those that these import."""
    modules = {
        function.python.partition(":")[0] for function in product.settings.functions.values()
    }
    root = Path(udfs.__file__ or "").parent.parent
    found = closure.modules(root, sorted(modules), (udfs.__name__,))
    return frozenset(name for module in found.values() for name in _declared(module))


def keep(settings: Settings, keys: Keys) -> None:
    """Give each key a second name, by its id: releases that use it keep it when the key is replaced."""
    for name, identity in keys.items():
        file = settings.secrets / kept(name, identity)
        if not file.exists():
            _copy(settings.secrets / name, file)
        if _id(file) != identity:
            raise ConflictError(
                f"the key {name} was changed meanwhile",
                expected=f"a key with the id {identity}",
                found=f"{file} with another",
                next=f"delete {file}, and repeat the command",
            )


def of_release(folder: Path) -> Keys:
    """What an archived release was built with."""
    try:
        found: dict[str, str] = json.loads((folder / NAMED).read_text())
    except FileNotFoundError:
        return {}
    return found


def as_file(keys: Keys) -> dict[str, bytes]:
    """The file of a release that names them; none without keys."""
    return {NAMED: (json.dumps(keys, sort_keys=True) + "\n").encode()} if keys else {}


def as_parts(keys: Keys) -> dict[str, bytes]:
    """What of them decides rows."""
    return {f"secrets/{name}": identity.encode() for name, identity in keys.items()}


def _id(file: Path) -> str:
    try:
        return key_id(file.read_text())
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(
            f"the key {file.name} cannot be read",
            expected=f"a file {file}",
            found=type(e).__name__,
            next="kappa up, which makes one; or put yours there, chmod 600",
        ) from None


def _copy(key: Path, file: Path) -> None:
    """Whole or not at all, for its owner's platform."""
    scratch = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with os.fdopen(
            os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w"
        ) as stream:
            stream.write(key.read_text())
        scratch.rename(file)
    except OSError as e:
        raise ConfigError(
            f"the key {key.name} cannot be kept for its releases",
            expected=f"a file {file}",
            found=e.strerror or str(e),
            next=f"put a copy of {key.name} there, chmod 600",
        ) from e
    finally:
        scratch.unlink(missing_ok=True)


def _declared(module: Path) -> Iterator[str]:
    for node in closure.tree(module).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == _DECLARED for t in node.targets
        ):
            yield from ast.literal_eval(node.value)
