"""Files of Protobuf and messages that are made up, and spoilt: Java's decoder and Google's library read the same.

KAPPA_FUZZ_SCHEMAS=100000 runs it for longer, and each time with others.
"""

from __future__ import annotations

import json
import os
import random
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from jobs.product.avro_schema import parse
from jobs.product.avro_types import fields
from jobs.product.protobuf_files import schema_of_text
from tests.avro_vectors import without_nanoseconds
from tests.integration.test_avro_fuzz import Java, flink_type, java_decoder
from tests.protobuf_vectors import decoded, reader

SCHEMAS = int(os.environ.get("KAPPA_FUZZ_SCHEMAS", "120"))
SEED = random.randrange(2**32) if "KAPPA_FUZZ_SCHEMAS" in os.environ else 20240603
MESSAGES = 100
A_FILE = 20
"""So many messages are compiled together."""
VARINTS = ("int32", "int64", "uint32", "uint64", "sint32", "sint64", "bool", "Color")
FIXED_64, FIXED_32 = ("fixed64", "sfixed64", "double"), ("fixed32", "sfixed32", "float")
KEYS = ("string", "int32", "uint64", "sint64", "bool", "fixed32", "sfixed64")
WRAPPED = {
    "Int32Value": "int32",
    "UInt64Value": "uint64",
    "BoolValue": "bool",
    "StringValue": "string",
    "DoubleValue": "double",
}
ENUM = "enum Color { NONE = 0; RED = 1; DARK = -1; FAR = 2147483647; }\n"
IMPORTS = "".join(f'import "google/protobuf/{n}.proto";\n' for n in ("timestamp", "wrappers"))
TEXTS = (b"", b"a", "é😀".encode(), b"\xff", b"\xed\xa0\x80", b"x" * 200)
NUMBERS = (0, 1, 2, 5, 127, 128, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1)


@dataclass
class Field:
    """A field of a message that was made up."""

    number: int
    kind: str
    label: str
    inner: list[Field] = field(default_factory=list)
    """Of a message, of a map's entry, or of Google's types."""


class Made:
    """Files and messages of one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def message(self, name: str, proto2: bool, depth: int = 0) -> tuple[str, list[Field]]:
        """A definition, and its fields."""
        r = self.random
        numbers = r.sample([*range(1, 20), 255, 256, 300, 2**29 - 1], r.randrange(1, 7))
        lines, found = [], []
        oneof: list[str] = []
        for at, number in enumerate(numbers):
            definition, kind, inner = self.kind(f"{name}_{at}", proto2, depth)
            labels = ["optional", "repeated"] + (["required"] if proto2 else ["", ""])
            label = "" if kind == "map" else r.choice([*labels, "oneof"])
            written = "" if label == "oneof" else label
            text = f"{definition}\n{written} {self.named(kind, name, at, inner)} f{at} = {number};"
            if label == "oneof":
                lines.append(definition)
                oneof.append(f"{self.named(kind, name, at, inner)} f{at} = {number};")
            else:
                lines.append(text)
            found.append(Field(number, kind, label, inner))
        if oneof:
            lines.append(f"oneof o {{ {' '.join(oneof)} }}")
        body = "\n".join(lines)
        return f"message {name} {{\n{body}\n}}\n", found

    def named(self, kind: str, name: str, at: int, inner: list[Field]) -> str:
        if kind == "map":
            value = inner[1].kind
            return f"map<{inner[0].kind}, {f'{name}_{at}' if value == 'message' else value}>"
        if kind == "message":
            return f"{name}_{at}"
        return f"google.protobuf.{kind}" if kind in (*WRAPPED, "Timestamp") else kind

    def kind(self, name: str, proto2: bool, depth: int) -> tuple[str, str, list[Field]]:
        """A definition that is needed before, the kind, and what is inside."""
        r = self.random
        choice = r.random()
        if choice < 0.15 and depth < 3:
            definition, inner = self.message(name, proto2, depth + 1)
            return definition, "message", inner
        if choice < 0.3 and depth < 3:
            definition, value, inner = self.kind(name, proto2, 9)
            if r.random() < 0.3:
                definition, inner = self.message(name, proto2, depth + 1)
                value = "message"
            if value in (*WRAPPED, "Timestamp"):
                value, inner = "string", []
            entry = [Field(1, r.choice(KEYS), ""), Field(2, value, "", inner)]
            return definition, "map", entry
        if choice < 0.37:
            return "", "Timestamp", [Field(1, "int64", ""), Field(2, "int32", "")]
        if choice < 0.45:
            wrapper = r.choice(list(WRAPPED))
            return "", wrapper, [Field(1, WRAPPED[wrapper], "")]
        return "", r.choice([*VARINTS, *FIXED_64, *FIXED_32, "string", "bytes"]), []

    def written(self, of: list[Field], depth: int = 0) -> bytes:
        """A message, mostly."""
        r = self.random
        parts = [part for f in of if r.random() < 0.8 for part in self.parts(f, depth)]
        if r.random() < 0.1:
            parts.append(self.unknown(0))
        if r.random() < 0.2:
            parts += r.choices(parts, k=1) if parts else []
        if r.random() < 0.3:
            r.shuffle(parts)
        return b"".join(parts)

    def parts(self, f: Field, depth: int) -> Iterator[bytes]:
        r = self.random
        count = r.randrange(4) if f.label == "repeated" or f.kind == "map" else 1
        packable = f.kind in (*VARINTS, *FIXED_32, *FIXED_64)
        if f.label == "repeated" and packable and r.random() < 0.6:
            yield self.length(f.number, b"".join(self.scalar(f.kind)[1] for _ in range(count)))
            return
        for _ in range(count + (r.random() < 0.1)):
            if f.inner:
                yield self.length(f.number, self.special(f, depth))
            elif f.kind in ("string", "bytes"):
                yield self.length(f.number, r.choice(TEXTS[:3] if r.random() < 0.95 else TEXTS))
            else:
                wire, value = self.scalar(f.kind)
                yield self.varint(f.number << 3 | wire) + value

    def special(self, f: Field, depth: int) -> bytes:
        r = self.random
        if f.kind == "Timestamp" and r.random() < 0.9:
            seconds = r.choice([0, -1, 1717376523, -62135596800, 253402300799, r.randrange(2**31)])
            nanos = r.choice([0, 1, 999_999_999, 456_000_000])
            return b"\x08" + self.varint(seconds) + b"\x10" + self.varint(nanos)
        return self.written(f.inner, depth + 1)

    def scalar(self, kind: str) -> tuple[int, bytes]:
        r = self.random
        number = r.choice(NUMBERS) if r.random() < 0.7 else r.randrange(2**64)
        if kind == "Color" and r.random() < 0.95:
            number = r.choice([0, 1, -1, 2**31 - 1])
        if kind in FIXED_64:
            return 1, struct.pack("<Q", number)
        if kind in FIXED_32:
            return 5, struct.pack("<I", number & 0xFFFFFFFF)
        return 0, self.varint(number)

    def varint(self, number: int) -> bytes:
        number &= 2**64 - 1
        found = bytearray()
        while number > 0x7F:
            found.append(number & 0x7F | 0x80)
            number >>= 7
        found.append(number)
        if self.random.random() < 0.02:  # in more bytes than it needs
            found[-1] |= 0x80
            found += bytes([0x80] * self.random.randrange(10)) + b"\0"
        return bytes(found)

    def length(self, number: int, body: bytes) -> bytes:
        return self.varint(number << 3 | 2) + self.varint(len(body)) + body

    def unknown(self, depth: int) -> bytes:
        r = self.random
        number = r.choice([30, 1000, 2**29 - 2])
        match r.randrange(5):
            case 0:
                return self.varint(number << 3) + self.varint(r.randrange(2**64))
            case 1:
                return self.varint(number << 3 | 1) + r.randbytes(8)
            case 2:
                return self.varint(number << 3 | 5) + r.randbytes(4)
            case 3:
                return self.length(number, r.randbytes(r.randrange(6)))
            case _:
                inner = b"" if depth > 4 else self.unknown(depth + 1)
                return self.varint(number << 3 | 3) + inner + self.varint(number << 3 | 4)

    def spoilt(self, body: bytes) -> bytes:
        """Cut off, or with bytes that are others, more or fewer."""
        r = self.random
        found = bytearray(body)
        for _ in range(r.randrange(1, 4)):
            at = r.randrange(len(found) + 1)
            match r.randrange(4):
                case 0:
                    del found[at:]
                case 1 if at < len(found):
                    found[at] ^= 1 << r.randrange(8)
                case 2:
                    found[at:at] = r.randbytes(r.randrange(1, 4))
                case _:
                    del found[at : at + r.randrange(3)]
        return bytes(found)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Java]:
    found = java_decoder(tmp_path_factory.mktemp("classes"))
    yield found
    found.close()


@pytest.mark.timeout(300 + SCHEMAS)
def test_java_and_googles_library_read_the_same(
    decoder: Java, capsys: pytest.CaptureFixture[str]
) -> None:
    figures: Counter[str] = Counter()
    for number in range(0, SCHEMAS, A_FILE):
        made, proto2 = Made(SEED + number), number // A_FILE % 2 == 1
        messages = [made.message(f"M{i}", proto2) for i in range(A_FILE)]
        head = f'syntax = "proto{2 if proto2 else 3}";\n{IMPORTS}{ENUM}'
        text = head + "".join(definition for definition, _ in messages)
        for i, (_, of) in enumerate(messages):
            bodies = [made.written(of) for _ in range(MESSAGES)]
            bodies = [made.spoilt(b) if made.random.random() < 0.4 else b for b in bodies]
            if i % 4 == 0:
                bodies = [bytes(5) + made.varint(2) + made.varint(2 * i) + b for b in bodies]
            compare(decoder, schema_of_text(text, f"M{i}"), i % 4 == 0, bodies, figures)
    with capsys.disabled():
        said = ", ".join(f"{figures[name]} {name}" for name in sorted(figures))
        sys.stderr.write(f"\nfuzzer: {said}\n")
    assert figures["values"] > figures["messages"] / 5
    assert figures["rejects"] > figures["messages"] / 20


def compare(
    decoder: Java, avro: str, framed: bool, messages: list[bytes], figures: Counter[str]
) -> None:
    schema = parse(avro)
    answer = decoder.decode_protobuf(avro, framed, messages)
    expected = ", ".join(f"`{f.name}` {f.type}" for f in fields(avro))
    assert flink_type(answer["type"]) == f"ROW<{expected}> NOT NULL"
    read = reader(avro, framed)
    for message, found in zip(messages, answer["results"], strict=True):
        figures["messages"] += 1
        figures["values" if "value" in found else "rejects"] += 1
        if "value" in found:
            found = {"value": without_nanoseconds(found["value"], schema)}
        assert decoded(read, schema, message) == found, (json.loads(avro), message.hex())
