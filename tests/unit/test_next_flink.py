"""What is said of the next line of Flink: from the compiler, from JUnit, and where its jars cannot be had."""

from __future__ import annotations

from pathlib import Path

import jgo.maven
import pytest

from local import next_flink

COMPILER = """\
----------
1. ERROR in /src/main/java/kappa/log/CheckpointPositions.java (at line 43)
\tbegun.known = state.assignedPartitions();
\t                    ^^^^^^^^^^^^^^^^^^
The method assignedPartitions() is undefined for the type KafkaSourceEnumState
----------
----------
2. WARNING in /src/main/java/kappa/log/Once.java (at line 7)
\timport org.apache.flink.table.data.RowData;
\t       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
The import is
 never used
----------
2 problems (1 error, 0 warnings, 0 infos)
"""
REPORT = """\
├─ a() ✘ X has no f(): int, on which Y relies.
  JUnit Jupiter:FlinkInternalsTest:a()
    => org.opentest4j.AssertionFailedError: X has no f(): int, on which Y relies. It has f(long): int.
       org.junit.jupiter.api.AssertionUtils.fail(AssertionUtils.java:40)
"""


def test_errors_and_warnings_of_the_compiler_are_a_line_each() -> None:
    assert list(next_flink.compiler_errors(COMPILER)) == [
        "CheckpointPositions.java:43 does not compile: "
        "The method assignedPartitions() is undefined for the type KafkaSourceEnumState",
        "Once.java:7 does not compile: The import is never used",
    ]


def test_what_the_compiler_says_otherwise_is_shown_as_it_is() -> None:
    assert list(next_flink.compiler_errors("no such folder")) == [
        "The connector does not compile: no such folder"
    ]


def test_failed_tests_are_a_sentence_each() -> None:
    assert list(next_flink.test_failures(REPORT * 2)) == [
        "X has no f(): int, on which Y relies. It has f(long): int."
    ]


def test_jars_that_cannot_be_had_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Context:
        def __init__(self, **_: object) -> None:
            self.resolver = self

        def create_dependency(self, coordinate: str) -> str:
            return coordinate

        def get_dependency_list(self, wanted: list[str]) -> None:
            raise OSError(f"no route to a host with {wanted[0]}")

    monkeypatch.setattr(jgo.maven, "MavenContext", Context)
    monkeypatch.setenv("KAPPA_CACHE", str(tmp_path))
    assert next_flink.main() == 2
    assert capsys.readouterr().out.splitlines() == [
        "Flink 2.2.1 cannot be had, so nothing was compared",
        "  expected: org.apache.flink:flink-table-runtime:2.2.1 in Maven Central",
        "  found:    OSError: no route to a host with org.apache.flink:flink-table-runtime:2.2.1",
        "  next:     check the network, or name another release in local/next_flink.py",
    ]
