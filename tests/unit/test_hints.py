"""Every command that a message tells people to type exists, with the options that it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from replay.cli.hints import naming, with_folder
from replay.errors import KappaError
from tests.cli_doc import commands
from tests.hints import Hint, fault, hints, hints_of, words_of
from tests.hints_typed import NOT_TYPED, TYPED

FEWEST = 150
"""Of commands behind `next`: should they no longer be found, this test would hold nothing."""


def test_every_command_in_a_message_can_be_typed() -> None:
    found = hints()
    assert sum(hint.is_next for hint in found) >= FEWEST
    assert [said for hint in found if (said := fault(hint))] == []


def test_of_each_command_to_be_typed_next_it_is_said_whether_a_test_types_it() -> None:
    to_be_typed = {" ".join(hint.words) for hint in hints() if hint.is_next}
    assert sorted((*TYPED, *NOT_TYPED)) == sorted(to_be_typed)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("deploy", "flights", "--agian"), "no such option"),
        (("depoly", "flights"), "no such command"),
        (("deploy",), "missing argument"),
        (("up", "--port-base", "N"), "invalid value"),
        (("rollback", "flights", "r1", "please"), "unexpected extra argument"),
    ],
    ids=lambda case: " ".join(case) if isinstance(case, tuple) else "",
)
def test_what_cannot_be_typed_is_found(words: tuple[str, ...], said: str) -> None:
    assert said in fault(Hint("here", words, True)).lower()


def test_a_sentence_may_go_on_behind_a_command_and_an_option_in_it_must_exist() -> None:
    assert fault(Hint("here", ("up", "fetches", "it"), False)) == ""
    assert fault(Hint("here", ("switch",), False)) == ""
    assert "--tired" in fault(Hint("here", ("up", "--tired"), False))


def test_commands_end_where_their_text_does(tmp_path: Path) -> None:
    text = 'kappa abort a  (or kappa switch a; or kappa query a "SELECT 1, 2" --timeout 3, then: kappa up)'
    assert list(words_of(text)) == [
        ("abort", "a"),
        ("switch", "a"),
        ("query", "a", "SELECT 1, 2", "--timeout", "3"),
        ("up",),
    ]


def test_what_a_message_fills_in_is_a_word(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tests.hints.ROOT", tmp_path)
    file = tmp_path / "module.py"
    file.write_text(
        '"""kappa down."""\nraise E("x", next=f"kappa deploy {name} --parallelism {n}, or wait")\n'
    )
    assert list(hints_of(file)) == [
        Hint("module.py:2", ("deploy", "1", "--parallelism", "1"), True)
    ]


def test_hints_of_a_product_elsewhere_name_its_folder() -> None:
    source = Path("my products/orders")
    with pytest.raises(KappaError) as e, naming("orders", source):
        raise KappaError(
            "no", next="kappa plan orders, then kappa deploy orders --again; kappa deploy orders2"
        )
    assert e.value.next == (
        "kappa plan orders --from 'my products/orders', then kappa deploy orders --from 'my products/orders' --again; "
        "kappa deploy orders2"
    )
    once = with_folder("kappa deploy orders", "orders", source)
    assert with_folder(once, "orders", source) == once
    assert with_folder("kappa deploy orders", "orders", None) == "kappa deploy orders"
    assert with_folder("kappa switch orders", "orders", source) == "kappa switch orders"


def test_commands_that_take_a_folder_are_those_whose_hints_get_one() -> None:
    from replay.cli.hints import TAKE_A_FOLDER

    taking = {
        name
        for name, command in commands().items()
        if any(p.name == "source" and "--from" in p.opts for p in command.params)
    }
    assert taking <= set(TAKE_A_FOLDER)
