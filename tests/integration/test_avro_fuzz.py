"""Schemas and messages that hypothesis makes up: Java's decoder, the audit's Python and fastavro read the same.

KAPPA_FUZZ_SCHEMAS=100000 runs it for longer, and each time with others.
"""

from __future__ import annotations

import io
import json
import math
import os
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import pytest
from fastavro.read import SchemaResolutionError
from fastavro.schema import fingerprint, to_parsing_canonical_form
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.product.avro_schema import Schema, parse
from jobs.product.avro_types import SchemaError, fields
from local import flink, jars
from local.connector_jar import MAIN, TEST, compile_java, joined
from local.layout import java
from replay.avro import single_object
from replay.avro.body import UndecodableError
from replay.avro.reader import record_reader
from tests.avro_schemas import Evolution, Message, Messages, Names, record, without_logical_types
from tests.avro_vectors import HEADER, SCHEMA_ID, decode, decode_message, without_nanoseconds

SCHEMAS = int(os.environ.get("KAPPA_FUZZ_SCHEMAS", "600"))
LONGER = "KAPPA_FUZZ_SCHEMAS" in os.environ
MESSAGES = 8
FLINK_NAMES = {"VARCHAR(2147483647)": "STRING", "VARBINARY(2147483647)": "BYTES"}


class Java:
    """kappa.format.DecodeLines, and how often it was asked."""

    def __init__(self, classes: Path) -> None:
        cache = jars.cache_folder()
        libraries = [
            *flink.wheel_jars(),
            *jars.paths("flink", cache),
            jars.path_of("junit-platform-console-standalone", cache),
        ]
        ours = MAIN / "java" / "kappa"
        sources = [ours / "format", ours / "secrets", TEST / "java" / "kappa" / "format"]
        compile_java(java(), jars.path_of("ecj", cache), libraries, sources, classes)
        self._process = subprocess.Popen(
            [java(), "-cp", joined([classes, *libraries]), "kappa.format.DecodeLines"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self.figures: Counter[str] = Counter()

    def decode(self, writer: str, reader: str, bodies: list[bytes]) -> dict[str, Any]:
        return self._ask(writer=writer, reader=reader, bodies=[body.hex() for body in bodies])

    def decode_messages(
        self, reader: str, writers: list[str] | None, messages: list[bytes]
    ) -> list[dict[str, Any]]:
        asked = {"reader": reader, "writers": writers, "bodies": [m.hex() for m in messages]}
        found: list[dict[str, Any]] = self._ask(**asked)["results"]
        return found

    def decode_json(self, reader: str, documents: list[bytes]) -> dict[str, Any]:
        return self._ask(reader=reader, bodies=[document.hex() for document in documents])

    def decode_protobuf(self, reader: str, framed: bool, messages: list[bytes]) -> dict[str, Any]:
        return self._ask(reader=reader, framed=framed, bodies=[m.hex() for m in messages])

    def _ask(self, **asked: Any) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        self._process.terminate()
        self._process.communicate()


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Java]:
    found = java_decoder(tmp_path_factory.mktemp("classes"))
    yield found
    found.close()


def java_decoder(classes: Path) -> Java:
    needed = [jar for part in ("build", "flink", "test") for jar in jars.read_lock(part)]
    jars.ensure(needed, jars.cache_folder(), lambda message: None)
    return Java(classes)


@st.composite
def cases(draw: Any) -> tuple[Any, Any, list[Message]]:
    """A writer's schema, a reader's, and messages of the writer's."""
    names = Names()
    writer = record(draw, names)
    reader = Evolution(draw, names).of(writer) if draw(st.integers(0, 4)) else writer
    messages = Messages(draw(st.integers(0, 2**32)), writer, names)
    return writer, reader, [messages.message() for _ in range(MESSAGES)]


@pytest.mark.timeout(300 + SCHEMAS)
def test_java_python_and_fastavro_read_the_same(
    decoder: Java, capsys: pytest.CaptureFixture[str]
) -> None:
    @settings(
        max_examples=SCHEMAS,
        deadline=None,
        database=None,
        derandomize=not LONGER,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases())
    def compare(case: tuple[Any, Any, list[Message]]) -> None:
        check(decoder, *case)

    compare()
    figures = decoder.figures
    with capsys.disabled():
        sys.stderr.write(
            "\nfuzzer: " + ", ".join(f"{figures[name]} {name}" for name in sorted(figures)) + "\n"
        )
    assert (
        figures["values"] > figures["messages"] / 5
        and figures["rejects"] > figures["messages"] / 20
    )


def check(decoder: Java, writer: Any, reader: Any, messages: list[Message]) -> None:
    figures, texts = decoder.figures, (json.dumps(writer), json.dumps(reader))
    figures["schemas"] += 1
    try:
        # a branch that a union lost may have defined what is used elsewhere
        parse(texts[0], strict=False)
        expected = ", ".join(f"`{f.name}` {f.type}" for f in fields(texts[1]))
    except SchemaError:
        figures["schemas refused"] += 1
        return
    answer = decoder.decode(*texts, [m.body for m in messages])
    assert "refused" not in answer, answer
    assert flink_type(answer["type"]) == f"ROW<{expected}> NOT NULL"
    wanted = parse(texts[1])
    without_registry(decoder, texts, messages)
    for m, found in zip(messages, answer["results"], strict=True):
        figures["messages"] += 1
        figures["values" if "value" in found else "rejects"] += 1
        if "value" in found:
            found = {"value": without_nanoseconds(found["value"], wanted)}
        assert decode(*texts, m.body) == found, (m.body.hex(), found)
        if m.sound:
            read_by_fastavro(writer, reader, m, figures)


def without_registry(decoder: Java, texts: tuple[str, str], messages: list[Message]) -> None:
    """The same bodies behind the fingerprint of what wrote them, and of nobody; and alone."""
    writer, reader = texts
    header = single_object.header(parse(writer, strict=False))
    canonical = to_parsing_canonical_form(without_logical_types(json.loads(writer)))
    assert header[2:].hex() == fingerprint(canonical, "CRC-64-AVRO")
    behind = [header + m.body for m in messages]
    behind += [behind[0][:9], behind[0][:1], behind[0][:2] + b"\x01" + behind[0][3:]]
    for writers, sent in (([writer], behind), (None, [m.body for m in messages])):
        for message, found in zip(
            sent, decoder.decode_messages(reader, writers, sent), strict=True
        ):
            if "value" in found:
                found = {"value": without_nanoseconds(found["value"], parse(reader))}
            assert decode_message(reader, writers, message) == found, (message.hex(), found)
            decoder.figures["messages without a registry"] += 1


def read_by_fastavro(writer: Any, reader: Any, m: Message, figures: Counter[str]) -> None:
    """What was written; and where fastavro's own resolution has a value, ours is the same, but for logical types.

    It has values that are rejects here (numbers that lose digits), and none where records have other names.
    """
    raw_writer, raw_reader = without_logical_types(writer), without_logical_types(reader)
    written = fastavro.parse_schema(raw_writer)
    assert repr(fastavro.schemaless_reader(io.BytesIO(m.body), written, None)) == repr(m.raw)
    try:
        theirs = fastavro.schemaless_reader(
            io.BytesIO(m.body), written, fastavro.parse_schema(raw_reader)
        )
        wanted = parse(json.dumps(raw_reader))
        read = record_reader(
            parse(json.dumps(raw_writer), strict=False), wanted, f"schema id {SCHEMA_ID}"
        )
        ours = read(HEADER + m.body, len(HEADER))
    except (
        SchemaResolutionError,
        UndecodableError,
        ValueError,
        LookupError,
        TypeError,
    ):  # some by faults of fastavro
        return
    assert same(without_branches(ours, wanted), theirs), (ours, theirs)
    figures["messages that fastavro resolves"] += 1


def without_branches(value: Any, schema: Schema) -> Any:
    """A union's value as fastavro has it: no word of its branch."""
    if value is None:
        return None
    if schema.type == "union":
        branches = [b for b in schema.branches if b.type != "null"]
        if len(branches) == 1:
            return without_branches(value, branches[0])
        taken = [b for b in branches if value[b.short_name] is not None]
        return without_branches(value[taken[0].short_name], taken[0]) if taken else None
    if schema.type == "record":
        return {f.name: without_branches(value[f.name], f.schema) for f in schema.fields}
    if schema.inner is None:
        return value
    inner = schema.inner
    if isinstance(value, list):
        return [without_branches(v, inner) for v in value]
    return {k: without_branches(v, inner) for k, v in value.items()}


def same(ours: Any, theirs: Any) -> bool:
    """fastavro leaves a default as JSON has it: of bytes a text, of a float with the digits of a double, of a record
    without its fields' own. And of a union it takes what stands first: a float for a long, bytes for a string."""
    match ours, theirs:
        case dict(), dict():
            return ours.keys() >= theirs.keys() and all(same(ours[k], theirs[k]) for k in theirs)
        case list(), list():
            return len(ours) == len(theirs) and all(map(same, ours, theirs))
        case bytes(), str():
            return ours.decode("latin-1") == theirs
        case str(), bytes():
            return ours.encode() == theirs
        case int(), float():
            return math.isclose(ours, theirs, rel_tol=1e-6)
        case float(), float() if math.isnan(theirs):
            return math.isnan(ours)
        case float(), float() | int():
            return ours == float(theirs) or ours == single(theirs)
        case _:
            return bool(ours == theirs)


def single(value: float) -> float:
    """The nearest float."""
    found: float = (
        struct.unpack("<f", struct.pack("<f", value))[0] if abs(value) < 2**127 else value
    )
    return found


def flink_type(text: str) -> str:
    for long, short in FLINK_NAMES.items():
        text = text.replace(long, short)
    for precision in (3, 6, 9):
        text = text.replace(
            f"TIMESTAMP({precision}) WITH LOCAL TIME ZONE", f"TIMESTAMP_LTZ({precision})"
        )
    return text
