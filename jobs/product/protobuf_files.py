"""Compiles schemas/NAME.proto by Google's protoc, which comes as a wheel."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path, PurePosixPath

from jobs.product.avro_schema import SchemaError
from jobs.product.protobuf_columns import avro_text, messages

SUFFIX = ".proto"
Others = tuple[tuple[str, str], ...]
_NAME = "schema.proto"
_SECONDS = 60
_LONGEST = 200
"""Characters of a file's name: file systems end at 255 bytes."""
_NOT_THERE = "File not found"
_ERROR = re.compile(r"\S+\.proto(:\d+:\d+)?: (?!warning:)")
"""A line of protoc's, which also warns, and logs how it was started."""


def schema_of(file: Path, message: str | None) -> str:
    """The Avro schema of a message's columns; SchemaError for a file that no table can be made of."""
    folder = file.parent
    texts = tuple(
        (str(f.relative_to(folder)), f.read_text()) for f in sorted(folder.rglob(f"*{SUFFIX}"))
    )
    return _schema(texts, file.name, message)


def schema_of_text(text: str, message: str | None = None, others: Others = ()) -> str:
    """The same of a text, as a registry has it; `others`: path and text of what it imports."""
    return _schema(_beside(text, others), _NAME, message)


def messages_of_text(text: str, others: Others = ()) -> dict[str, list[int]]:
    """The messages of a text, by their names without the package, and their indexes."""
    return messages(_compiled(_beside(text, others), _NAME), _NAME)


def _beside(text: str, others: Others) -> Others:
    for path, _ in others:
        if not _is_below(path) or path == _NAME:
            raise SchemaError("imports with a path of their own below schemas/", path)
    return ((_NAME, text), *others)


def _is_below(path: str) -> bool:
    """Whether it is a path to a file of Protobuf, written in one way alone."""
    pure = PurePosixPath(path)
    return (
        pure.suffix == SUFFIX
        and str(pure) == path
        and path.isprintable()
        and not pure.is_absolute()
        and ".." not in pure.parts
        and all(len(part) < _LONGEST for part in pure.parts)
    )


@lru_cache(maxsize=64)  # what is asked again and again in one command
def _schema(texts: Others, name: str, message: str | None) -> str:
    return avro_text(_compiled(texts, name), name, message)


@lru_cache(maxsize=64)  # protoc is a process
def _compiled(texts: Others, name: str) -> bytes:
    """A FileDescriptorSet of the file and of all that it imports, Google's own types among them."""
    with tempfile.TemporaryDirectory(prefix="kappa-protoc-") as scratch:
        source, out = Path(scratch) / "source", Path(scratch) / "compiled"
        for path, text in texts:
            file = source / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        try:
            run = subprocess.run(
                # -P: nothing beside the schemas is taken for a module of Python
                [
                    *(sys.executable, "-P", "-m", "grpc_tools.protoc", "-I."),
                    *("--include_imports", "--include_source_info", f"--descriptor_set_out={out}"),
                    name,
                ],
                cwd=source,
                capture_output=True,
                text=True,
                check=False,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired as e:
            raise SchemaError(
                f"a file that protoc compiles within {_SECONDS} s", "it runs on"
            ) from e
        if run.returncode == 0:
            return out.read_bytes()
    lines = [line for line in run.stderr.splitlines() if line.strip()]
    said = [line for line in lines if _ERROR.match(line)] or lines
    if any(_NOT_THERE in line for line in said):
        raise SchemaError(
            "imports of files in schemas/, or of Google's own types such as "
            "google/protobuf/timestamp.proto",
            said[0],
        )
    raise SchemaError("a file that protoc compiles", said[0] if said else f"exit {run.returncode}")
