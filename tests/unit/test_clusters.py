"""Clusters of a program that the settings name: what it says, and what becomes of its failures."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from local import config_file
from local.layout import Layout
from replay.controller.platform import Platform
from replay.core.model import Attempt, State
from replay.errors import ConfigError, ConflictError, KappaError, RefusedError, RetryableError
from replay.flink.clusters import LIB, CommandClusters, Started, clusters
from replay.settings import load_settings

NAME = "flights-r2-a1"


def _program(*lines: str, timeout: float = 30) -> CommandClusters:
    return CommandClusters([sys.executable, "-c", "\n".join(["import sys", *lines])], timeout)


def test_the_program_is_told_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "told"
    program = _program(
        f"open({str(file)!r}, 'a').write(' '.join(sys.argv[1:]) + '; ')",
        'print(\'["x"]\' if sys.argv[1] == "list" else \'{"name": "x", "rest": "http://there:1"}\')',
    )
    assert program.start(NAME) == Started("http://there:1")
    program.live(NAME)
    assert program.names() == {"x"}
    program.stop(NAME)
    assert file.read_text() == f"start {NAME}; live {NAME}; list; stop {NAME}; "


@pytest.mark.parametrize(
    ("lib", "answers", "own"),
    [
        (Path("/home/lib"), "os.environ['KAPPA_FLINK_LIB']", True),
        (Path("/home/lib"), "'/elsewhere'", False),
        (Path("/home/lib"), "None", False),
        (None, "os.environ.get('KAPPA_FLINK_LIB')", False),
    ],
)
def test_it_is_told_which_jars_a_cluster_is_to_have_and_says_whether_it_has_them(
    monkeypatch: pytest.MonkeyPatch, lib: Path | None, answers: str, own: bool
) -> None:
    monkeypatch.setenv(LIB, "/of/another")
    program = _program(
        "import json, os", f"print(json.dumps(dict(rest='http://there:1', lib={answers})))"
    )
    assert program.start(NAME, lib) == Started("http://there:1", own_jars=own)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ('{"name": "x", "why": "out of memory"}', "out of memory"),
        ('{"name": "x", "why": null}', ""),
        ("", ""),
    ],
)
def test_it_may_know_why_a_process_ended(answer: str, why: str) -> None:
    assert _program(f"print({answer!r})").why(NAME) == why


def test_what_it_says_before_its_answer_does_not_matter() -> None:
    assert _program("print('pulling an image')", "print('[]')").names() == frozenset()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_its_error_is_ours(stream: str) -> None:
    program = _program(
        f'print(\'{{"error": "ConflictError", "message": "m", "expected": "e", "next": "n"}}\', '
        f"file=sys.{stream})",
        "sys.exit(1)",
    )
    with pytest.raises(ConflictError) as e:
        program.start(NAME)
    assert e.value.as_dict() == {
        "error": "ConflictError",
        "message": "m",
        "expected": "e",
        "found": "",
        "next": "n",
    }


@pytest.mark.parametrize("error", ["Unheard", "annotations", "SystemExit"])
def test_an_error_of_an_unknown_kind_is_a_refusal(error: str) -> None:
    with pytest.raises(RefusedError, match="no room"):
        _program(f'print(\'{{"error": "{error}", "message": "no room"}}\')', "sys.exit(1)").start(
            NAME
        )


def test_a_failure_without_words_of_ours_is_a_refusal_that_quotes_it() -> None:
    with pytest.raises(RefusedError) as e:
        _program("sys.exit('quota exceeded')").stop(NAME)
    assert e.value.found == "exit code 1: quota exceeded"


def test_a_program_that_does_not_exist_may_exist_later() -> None:
    with pytest.raises(RetryableError) as e:
        CommandClusters(["/no/such/program"]).start(NAME)
    assert e.value.expected == f"/no/such/program start {NAME}"
    assert "No such file" in e.value.found


def test_a_program_that_hangs_is_tried_again() -> None:
    with pytest.raises(RetryableError, match="gave no answer"):
        _program("import time", "time.sleep(60)", timeout=0.2).start(NAME)


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("start", ""),
        ("start", "ok"),
        ("start", '{"name": "x"}'),
        ("start", "[]"),
        ("list", ""),
        ("list", "{}"),
        ("list", "[1]"),
    ],
)
def test_a_strange_answer_is_a_fault_of_the_settings(verb: str, said: str) -> None:
    program = _program(f"print({said!r})")
    with pytest.raises(ConfigError, match=f"returned an unexpected response to '{verb}'"):
        program.start(NAME) if verb == "start" else program.names()


def test_the_embedded_stack_names_its_program(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    config_file.write_settings(layout)
    program = clusters(load_settings(tmp_path))
    assert program is not None
    assert program.names() == frozenset()
    with pytest.raises(KappaError, match="the stack is not up"):
        program.start(NAME)


def test_without_a_program_all_attempts_share_the_session_cluster(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    config_file.write_settings(layout)
    text = layout.settings.read_text()
    layout.settings.write_text(text[: text.index("  clusters:")] + text[text.index("catalog:") :])
    assert clusters(load_settings(tmp_path)) is None


def test_products_share_an_answer_of_what_is_left_of_clusters(tmp_path: Path) -> None:
    file = tmp_path / "asked"
    config_file.write_settings(Layout(tmp_path))
    platform = Platform(load_settings(tmp_path))
    platform.clusters = _program(
        f"open({str(file)!r}, 'a').write('.')", "print('[\"orders-r1-a1\"]')"
    )
    flights = Attempt(
        "flights", 1, 1, 0.0, 2, (), State.failed, cluster="flights-r1-a1", cleaned=True
    )
    orders = replace(flights, product="orders", cluster="orders-r1-a1")
    assert platform.strays([flights]) == platform.strays([flights]) == ()
    assert file.read_text() == "."
    assert platform.strays([orders]) == ("r1-a1",)
    assert file.read_text() == "..", "what is to be ended is asked again"
