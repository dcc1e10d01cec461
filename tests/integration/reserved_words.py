"""Print the words that Flink's parser refuses as a column's name, tried one by one: `python reserved_words.py`."""

from __future__ import annotations

import io
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyflink
from py4j.protocol import Py4JJavaError
from pyflink.table import EnvironmentSettings, TableEnvironment

_TOKENS = "FlinkSqlParserImplConstants.class"


def tokens() -> set[str]:
    """Every keyword of the parser, from the strings of its class."""
    found: set[str] = set()
    for jar in Path(pyflink.__file__).parent.rglob("*planner*.jar"):
        for archive in _archives(zipfile.ZipFile(jar)):
            for name in archive.namelist():
                if name.endswith(_TOKENS):
                    found |= {
                        w.decode().lower()
                        for w in re.findall(rb'"([A-Z][A-Z0-9_]*)"', archive.read(name))
                    }
    return found


def _archives(jar: zipfile.ZipFile) -> Iterator[zipfile.ZipFile]:
    yield jar
    for name in jar.namelist():
        if name.endswith(".jar"):
            yield zipfile.ZipFile(io.BytesIO(jar.read(name)))


def main() -> None:
    parser = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())._j_tenv.getParser()
    words, refused = sorted(tokens()), []
    for word in words:
        try:
            parser.parse(f"SELECT x.{word} AS {word} FROM (SELECT 1 AS `{word}`) x GROUP BY {word}")
        except Py4JJavaError:
            refused.append(word)
    sys.stdout.write(json.dumps({"words": len(words), "refused": refused}) + "\n")


if __name__ == "__main__":
    main()
