"""A function tried in several orders and batches, which must all give the same."""

from __future__ import annotations

import random
from collections.abc import Sequence

from jobs.probe import outside
from jobs.probe.arguments import Values
from jobs.probe.kept import kept_by_modules, refuse_changes
from jobs.probe.limits import Run
from jobs.probe.trial import Answer, FoundError, Trial, batch_of, called, short, shown


def tried(
    trial: Trial, watch: outside.Watch
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Returns what is wrong with the function, as (kind, text), and each call with its answer."""
    found: list[tuple[str, str]] = []
    try:
        answers = _vectorised(trial, watch) if trial.vectorised else _plain(trial, watch)
    except FoundError as e:
        return [(e.kind, e.text)], []
    table = trial.rows()
    for kind in ("raises", "returns"):
        wrong = [(values, a) for values, a in zip(table, answers, strict=True) if a.kind == kind]
        if wrong:
            values, answer = min(wrong, key=lambda w: len(trial.shown(w[0])))
            found.append((kind, f"{trial.shown(values)} {kind} {short(answer.detail)}"))
    return found, [(trial.shown(v), a.text) for v, a in zip(table, answers, strict=True)]


def _plain(trial: Trial, watch: outside.Watch) -> list[Answer]:
    """The answer for each row, which must be the same in three passes in different orders."""
    first: dict[int, Answer] = {}
    there, kept = _there(trial), []
    for number, order in enumerate((there, _shuffled(there, trial), there)):
        table = trial.rows()
        with Run(trial, watch, number) as run:
            for index in order:
                run.values, before = table[index], shown(table[index])
                answer = called(trial, table[index])
                if shown(table[index]) != before:
                    raise FoundError(
                        "changes", f"{trial.shown(trial.rows()[index])} changes its arguments"
                    )
                _same(
                    trial,
                    table[index],
                    first.setdefault(index, answer),
                    answer,
                    "when it is called again",
                )
        kept.append(kept_by_modules())
    refuse_changes(kept)
    return [first[i] for i in range(len(there))]


def _vectorised(trial: Trial, watch: outside.Watch) -> list[Answer]:
    """Each row's answer: the same in a batch of all, again, in another order, and in batches of a few rows.

    Where the call with all of them raises, each is tried alone, and those that do not raise then go together.
    """
    table, there = trial.rows(), _there(trial)
    first: dict[int, Answer] = {}
    with Run(trial, watch, 0) as run:
        answers = batch_of(trial, [table[i] for i in there])
        if {a.kind for a in answers} != {"value"}:
            for index in there:
                run.values = table[index]
                [first[index]] = batch_of(trial, [table[index]])
            good = [i for i in there if first[i].kind == "value"]
            if len(good) == len(there):  # what no row gives alone is of all of them together
                raise FoundError(
                    "batch",
                    f"a batch of {len(there)} rows {answers[0].kind} {short(answers[0].detail)}, "
                    "and none of them does alone",
                )
            answers = batch_of(trial, [table[i] for i in good]) if good else []
            there = good
        first.update(zip(there, answers, strict=True))
    mixed, kept = _shuffled(there, trial), []
    for number, split in enumerate(([there], [mixed], _cut(mixed, trial), _cut(there, trial))):
        with Run(trial, watch, number + 1) as run:
            for batch in split if there else []:
                run.values = table[batch[0]] if len(batch) == 1 else None
                for index, answer in zip(
                    batch, batch_of(trial, [table[i] for i in batch]), strict=True
                ):
                    when = (
                        _size(batch)
                        if len(batch) < len(there)
                        else "the same rows in another order"
                    )
                    if batch == there:
                        _same(trial, table[index], first[index], answer, "when it is called again")
                    else:
                        _same(trial, table[index], first[index], answer, f"in {when}", _size(there))
        kept.append(kept_by_modules())
    refuse_changes(kept)
    return [first[i] for i in range(len(table))]


def _size(batch: Sequence[int]) -> str:
    return f"a batch of {len(batch)} row{'s' * (len(batch) != 1)}"


def _there(trial: Trial) -> list[int]:
    order = list(range(len(trial.rows())))
    return order[::-1] if trial.backwards else order


def _same(
    trial: Trial, values: Values, one: Answer, other: Answer, when: str, batch: str = ""
) -> None:
    if one != other:
        there = f"in {batch}" if batch else "first"
        words = f"{trial.shown(values)} gives {_words(one)} {there}, and {_words(other)} {when}"
        raise FoundError("batch" if batch else "differs", words)


def _words(answer: Answer) -> str:
    return short(answer.text if answer.kind == "value" else answer.detail)


def _shuffled(order: Sequence[int], trial: Trial) -> list[int]:
    found = list(order)
    random.Random(f"{trial.name} {trial.backwards}").shuffle(found)
    return found


def _cut(order: Sequence[int], trial: Trial) -> list[list[int]]:
    """Batches of a few rows."""
    chance, found, at = random.Random(f"{trial.name} {len(order)} {trial.backwards}"), [], 0
    while at < len(order):
        size = chance.choice((1, 2, 3, 5, 13))
        found.append(list(order[at : at + size]))
        at += size
    return found
