"""What commands print is what the data says, whatever is in it and wherever it goes."""

from __future__ import annotations

import pytest

from replay.output import Output, print_rows

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
