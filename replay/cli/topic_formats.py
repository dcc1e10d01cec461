"""How records of `kappa topic` are written when no registry says it: --format, --schema and --json."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jobs.product.avro_schema import parse
from jobs.product.formats import Format
from replay.avro import single_object
from replay.avro.json_lines import AvroRecords, JsonRecords
from replay.errors import ConfigError
from replay.kafka import schemas

Reads = Callable[[bytes], dict[str, Any]]
_OF_FILES = (Format.avro, Format.avro_single_object)


def writer(
    name: str, written: Format | None, file: Path | None, as_json: bool
) -> AvroRecords | JsonRecords | None:
    """What makes records of lines; None: the registry has the schema. ConfigError for what does not go together."""
    if as_json and (written is not None or file):
        raise ConfigError(
            "--json writes lines as they are",
            expected="--json alone, or --format with --schema",
            found="--json with --format or --schema",
            next=f"kappa topic produce {name} FILE --json",
        )
    if as_json:
        return JsonRecords()
    text = _texts(
        written,
        [file] if file else [],
        next=f"kappa topic produce {name} FILE --format avro-single-object --schema FILE.avsc",
    )
    if not text:
        return None
    alone = written is Format.avro
    return AvroRecords(text[0], b"" if alone else single_object.header(parse(text[0])))


def reader(name: str, written: Format | None, files: Sequence[Path]) -> Reads | None:
    """What reads values; None: they say themselves how they are written."""
    texts = _texts(
        written,
        files,
        next=f"kappa topic peek {name} --format avro-single-object --schema FILE.avsc",
    )
    if not texts:
        return None
    if written is Format.avro_single_object:
        return single_object.reader(None, texts)
    if len(texts) > 1:
        raise ConfigError(
            "records of --format avro do not say which schema they were written with",
            expected="one --schema",
            found=str(len(texts)),
            next=f"kappa topic peek {name} --format avro --schema FILE.avsc",
        )
    return single_object.body_reader(parse(texts[0]))


def _texts(written: Format | None, files: Sequence[Path], *, next: str) -> list[str]:
    """The schemas of the files, which there must be of these formats and no other."""
    if (written in _OF_FILES) != bool(files) or (written and written not in _OF_FILES):
        found = f"--format {written.value}" if written else "no --format"
        raise ConfigError(
            "--format and --schema say together how Avro without a registry is written",
            expected=f"--format {' or '.join(_OF_FILES)}, with --schema",
            found=f"{found}, {'with' if files else 'without'} --schema",
            next=next,
        )
    return [_of_records(file) for file in files]


def _of_records(file: Path) -> str:
    text = schemas.read_schema(file)
    if (found := parse(text)).type != "record":
        raise ConfigError(
            f"{file} is not a schema of records",
            expected="a record at the top of the schema",
            found=found.short_name,
            next=f"edit {file}",
        )
    return text
