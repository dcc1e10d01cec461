"""What commands print is what the data says, whatever is in it and wherever it goes."""

from __future__ import annotations

import json

import pytest
from rich.console import Group
from rich.text import Text

from replay.output import Output, View, print_rows, rows_table, show

ODD = ["[red]alarm[/red]", "[/nope]", ":smile:", "[a]", "[link=x]"]


def shown(
    capsys: pytest.CaptureFixture[str], rows: list[dict[str, object]], **how: str
) -> list[str]:
    """The cells of a table that was printed, row by row."""
    print_rows(rows, Output.text, **how)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    return [cell.strip() for line in lines for cell in line.strip("│").split("│")]


@pytest.mark.parametrize("value", ODD)
def test_a_value_is_no_markup(capsys: pytest.CaptureFixture[str], value: str) -> None:
    assert shown(capsys, [{"a": value, "b": [value]}]) == [value, f"[{value}]"]
    print_rows([{value: 1}], Output.text, title=value)
    assert capsys.readouterr().out.count(value) == 2


def test_nothing_is_cut_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    row: dict[str, object] = {f"a_column_with_a_long_name_{i}": "x" * 40 for i in range(9)}
    assert shown(capsys, [row]) == ["x" * 40] * 9
    print_rows([row], Output.text)
    head = capsys.readouterr().out.splitlines()[1]
    assert [name for name in row if name not in head] == []


def test_what_is_null_differs_from_an_empty_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, [{"a": "", "b": None, "c": 1}], null="NULL") == ["", "NULL", "1"]
    assert shown(capsys, [{"a": "", "b": None}]) == ["", ""]


def test_a_view_is_one_document_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    show(View({"a": [1, "ü"]}, "for people"), Output.json)
    printed = capsys.readouterr().out
    assert (printed.count("\n"), json.loads(printed)) == (1, {"a": [1, "ü"]})


def test_a_view_is_lines_and_tables_one_below_the_other_for_people(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show(View({}, ["first [a]", rows_table([{"n": 1_000}]), Text("last")]), Output.text)
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], lines[-1]) == ("first [a]", "last")
    assert "│ 1,000 │" in lines


def test_a_view_of_nothing_prints_nothing_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    show(View({"changed": False}, []), Output.text)
    assert capsys.readouterr().out == ""


def test_lines_are_whole_and_what_is_laid_out_fits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replay.output.out._width", 40)
    long = " ".join(["word"] * 20)
    show(View({}, [long, Group(Text(long))]), Output.text)
    whole, *folded = capsys.readouterr().out.splitlines()
    assert whole == long
    assert len(folded) > 1
    assert max(map(len, folded)) <= 40
