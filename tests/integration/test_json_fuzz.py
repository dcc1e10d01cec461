"""Schemas and documents that are made up, and spoilt: Java's decoder and the audit's Python read the same.

KAPPA_FUZZ_SCHEMAS=100000 runs it for longer, and each time with others.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from jobs.product.avro_schema import parse
from jobs.product.avro_types import fields
from jobs.product.json_columns import avro_text
from tests.avro_vectors import without_nanoseconds
from tests.integration.test_avro_fuzz import Java, flink_type, java_decoder
from tests.json_vectors import decode

SCHEMAS = int(os.environ.get("KAPPA_FUZZ_SCHEMAS", "400"))
SEED = random.randrange(2**32) if "KAPPA_FUZZ_SCHEMAS" in os.environ else 20240603
DOCUMENTS = 25
NAMES = ("a", "b", "c-d", "é", "A", "$", "log_value")
NUMBERS = (
    "0", "-0", "1", "-1", "0.5", "1.0", "1e3", "1E-3", "-1.50e2", "2147483647", "2147483648", "-2147483648",
    "9007199254740993", "9223372036854775807", "9223372036854775808", "-9223372036854775809", "1e18", "1e19",
    "0.1", "123.456789", "1e308", "1e309", "-1e400", "1e-400", "4.9e-324", "1e999999999999999999999", "0e99",
    "1717376523", "1717376523456", "1717376523.456", "1717376523456789", "253402300799999", "253402300800000",
    "-62135596800000", "-62135596800001", "99999999999999999999.5", "00", "1.", ".5", "+1", "-", "1e", "NaN",
    "12345678901234567890123456789012345678", "0.00000000000000000000000000000000000001", "719163", "-719163",
)  # fmt: skip
TEXTS = (
    "", "x", "é", "😀", "\\ud83d", "\\ud83d\\ude00", "\\ude00\\ud83d", "\\u0000", "\\n", "\\/", "\\x", "\\u12", "\t",
    "AP8=", "AP8", "AA==", "////", "-_8=", "1", "1.50", "-1e2", "01", "NaN", "1.234", "12345678901234567890.12",
    "2024-06-03", "2024-02-30", "0000-01-01", "9999-12-31", "2024-06-03T01:02:03Z", "2024-06-03T01:02:03.123Z",
    "2024-06-03T01:02:03.123456+02:00", "2024-06-03 01:02:03.123456789-0030", "2024-06-03T24:00:00Z",
    "2024-06-03T01:02:60Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59.999999999Z", "2024-06-03T01:02:03",
    "2024-06-03T01:02:03.5", "01:02:03", "23:59:59.999", "23:59:59.9999", "24:00:00", "٢٠٢٤-06-03", "x" * 60,
)  # fmt: skip


class Made:
    """Schemas and documents of one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def schema(self) -> dict[str, Any]:
        return {**self.object(0), "type": "object"}

    def object(self, depth: int) -> dict[str, Any]:
        r = self.random
        names = r.sample(NAMES[:-1], r.randrange(1, 4))
        columns = {
            name: {**self.type(depth + 1), "x-column": f"f{i}"} for i, name in enumerate(names)
        }
        required = r.sample(names, r.randrange(len(names) + 1))
        return {"type": "object", "properties": columns, "required": required}

    def type(self, depth: int) -> dict[str, Any]:
        r = self.random
        found = self.inner(depth) if depth < 4 and r.random() < 0.3 else self.leaf()
        return {**found, "type": [found["type"], "null"]} if r.random() < 0.2 else found

    def inner(self, depth: int) -> dict[str, Any]:
        match self.random.randrange(3):
            case 0:
                return self.object(depth)
            case 1:
                return {"type": "array", "items": self.type(depth + 1)}
            case _:
                return {"type": "object", "additionalProperties": self.type(depth + 1)}

    def leaf(self) -> dict[str, Any]:
        r = self.random
        digits = r.choice([3, 6, 9])
        precision = r.randrange(1, 39)
        decimal = {
            "format": "decimal",
            "x-precision": precision,
            "x-scale": r.randrange(precision + 1),
        }
        return r.choice(
            [
                {"type": "string"},
                {"type": "boolean"},
                {"type": "integer"},
                {"type": "integer", "format": "int32"},
                {"type": "number"},
                {"type": "number", **decimal},
                {"type": "string", **decimal},
                {"type": "string", "contentEncoding": "base64"},
                {"type": "string", "format": "date"},
                {"type": "string", "format": "time-local"},
                {"type": "integer", "format": "epoch-days"},
                {
                    "type": "string",
                    "format": r.choice(["date-time", "date-time-local"]),
                    "x-precision": digits,
                },
                {
                    "type": "number",
                    "format": f"epoch-{r.choice(['seconds', 'millis', 'micros', 'nanos'])}",
                    "x-precision": digits,
                },
            ]
        )

    def document(self, spec: dict[str, Any]) -> bytes:
        text = self.value(spec)
        r = self.random
        if r.random() < 0.25:
            text = self.spoilt(text)
        encoded = text.encode()
        if encoded and r.random() < 0.1:
            at = r.randrange(len(encoded))
            encoded = encoded[:at] + bytes([r.randrange(256)]) + encoded[at + r.randrange(2) :]
        return encoded

    def spoilt(self, text: str) -> str:
        r = self.random
        at = r.randrange(len(text) + 1)
        return r.choice(
            [
                text[:at],
                text[at:],
                text + r.choice(["x", "{}", ",", "\0", " \n"]),
                text[:at] + r.choice('{}[]",:\\ 0e.\0\ufeff') + text[at:],
                "[" * 101 + text,
                text.replace("{", "[", 1),
            ]
        )

    def value(self, spec: dict[str, Any]) -> str:
        """A value of the type, mostly."""
        r = self.random
        if r.random() < 0.03:
            return r.choice(["null", "true", "1", '"x"', "[]", "{}", self.number(), self.text()])
        if r.random() < 0.8 and (good := self.good(spec)):
            return good
        kinds = spec["type"] if isinstance(spec["type"], list) else [spec["type"]]
        match r.choice(kinds):
            case "null":
                return "null"
            case "boolean":
                return r.choice(["true", "false"])
            case "string":
                return self.text()
            case "array":
                items = [self.value(spec["items"]) for _ in range(r.randrange(4))]
                return "[" + ",".join(items) + "]"
            case "object" if "properties" in spec:
                return self.fields(spec["properties"])
            case "object":
                values = spec["additionalProperties"]
                pairs = [f"{self.text()}: {self.value(values)}" for _ in range(r.randrange(4))]
                return "{" + ", ".join(pairs) + "}"
            case _:
                return self.number()

    def good(self, spec: dict[str, Any]) -> str:
        """A value that the type has; nothing where any will do."""
        r = self.random
        digits = spec.get("x-precision", 3)
        fraction = f".{r.randrange(10 ** min(digits, 9))}"[: min(digits, 9) + 1]
        match spec.get("format"):
            case "date":
                return r.choice(['"2024-02-29"', '"0001-01-01"', '"9999-12-31"'])
            case "time-local":
                return r.choice(['"00:00:00"', '"23:59:59.999"', '"12:34:56.7"'])
            case "date-time" | "date-time-local" as form:
                zone = (
                    r.choice(["Z", "z", "+05:30", "-0030", "+00:00"]) if form == "date-time" else ""
                )
                return (
                    f'"{r.randrange(1900, 2100)}-0{r.randrange(1, 10)}-28T23:00:59{fraction}{zone}"'
                )
            case "decimal":
                whole = r.randrange(10 ** (spec["x-precision"] - spec["x-scale"]))
                behind = f".{r.randrange(10 ** spec['x-scale'])}" if spec["x-scale"] else ""
                text = f"{r.choice(['', '-'])}{whole}{behind}"
                return f'"{text}"' if "string" in spec["type"] else text
            case "epoch-days" | "int32":
                return str(r.randrange(-700_000, 2_900_000))
            case "epoch-seconds" | "epoch-millis" | "epoch-micros" | "epoch-nanos" as form:
                unit = {"seconds": 0, "millis": 3, "micros": 6, "nanos": 9}[form[6:]]
                return str(r.randrange(-(10**9), 10**10)) + "0" * unit
        if "contentEncoding" in spec:
            return r.choice(['""', '"AP8="', '"AA=="', '"////"'])
        if spec["type"] == "integer":
            return str(r.randrange(-(2**63), 2**63))
        return ""

    def fields(self, properties: dict[str, Any]) -> str:
        r = self.random
        pairs = [
            f"{json.dumps(name, ensure_ascii=r.random() < 0.5)}: {self.value(spec)}"
            for name, spec in properties.items()
            if r.random() < 0.98
        ]
        if pairs and r.random() < 0.05:
            pairs.append(r.choice(pairs))
        if r.random() < 0.2:
            pairs.append(f'"{r.choice(NAMES)}_": [{self.number()}, {{"x": {self.text()}}}]')
        r.shuffle(pairs)
        return "{" + r.choice([",", " , ", "\n,\t"]).join(pairs) + "}"

    def number(self) -> str:
        r = self.random
        if r.random() < 0.4:
            return r.choice(NUMBERS)
        exponent = r.choice(["", "", f"e{r.randrange(-30, 30)}"])
        fraction = r.choice(["", "", f".{r.randrange(10 ** r.randrange(1, 12))}"])
        return f"{r.choice(['', '-'])}{r.randrange(10 ** r.randrange(1, 21))}{fraction}{exponent}"

    def text(self) -> str:
        return f'"{self.random.choice(TEXTS)}"'


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Java]:
    found = java_decoder(tmp_path_factory.mktemp("classes"))
    yield found
    found.close()


@pytest.mark.timeout(300 + SCHEMAS)
def test_java_and_python_read_the_same(decoder: Java, capsys: pytest.CaptureFixture[str]) -> None:
    figures: Counter[str] = Counter()
    for number in range(SCHEMAS):
        made = Made(SEED + number)
        schema = made.schema()
        documents = [made.document(schema) for _ in range(DOCUMENTS)]
        compare(decoder, avro_text(json.dumps(schema)), documents, figures)
    with capsys.disabled():
        said = ", ".join(f"{figures[name]} {name}" for name in sorted(figures))
        sys.stderr.write(f"\nfuzzer: {said}\n")
    assert figures["values"] > figures["documents"] / 5
    assert figures["rejects"] > figures["documents"] / 20


def compare(decoder: Java, avro: str, documents: list[bytes], figures: Counter[str]) -> None:
    schema = parse(avro)
    answer = decoder.decode_json(avro, documents)
    expected = ", ".join(f"`{f.name}` {f.type}" for f in fields(avro))
    assert flink_type(answer["type"]) == f"ROW<{expected}> NOT NULL"
    for document, found in zip(documents, answer["results"], strict=True):
        figures["documents"] += 1
        figures["values" if "value" in found else "rejects"] += 1
        if "value" in found:
            found = {"value": without_nanoseconds(found["value"], schema)}
        assert decode(avro, document) == found, (avro, document)
