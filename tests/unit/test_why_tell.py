"""Which of several records are behind a row, told by what the SQL gives over some of them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from jobs.plan.windows import WindowColumns
from jobs.product.model import Column, Kind, Output
from replay.why import rows
from replay.why.records import Became, Place
from replay.why.search import Answer, search
from replay.why.tell import MOST, How, Verdict, tell
from replay.why.why import how as how_of
from tests.unit import folders
from tests.unit.why_records import candidate, gathering, wall


@pytest.mark.parametrize("good", [set(range(50)), set(), {7}, {3, 4, 44}], ids=len)
def test_groups_are_split_until_each_is_told(good: set[int]) -> None:
    asked = 0

    def ask(groups: Sequence[Sequence[int]]) -> list[Answer]:
        nonlocal asked
        asked += len(groups)
        counted = [len(good & set(group)) for group in groups]
        return [
            Answer.none if not n else Answer.all if n == len(group) else Answer.some
            for n, group in zip(counted, groups, strict=True)
        ]

    told = search(range(50), ask, 100)
    assert (set(told.counted), set(told.others)) == (good, set(range(50)) - good)
    assert asked <= 30 and not told.untold


def test_what_would_take_too_many_questions_is_not_told() -> None:
    told = search(range(100), lambda groups: [Answer.some] * len(groups), 15)
    assert len(told.untold) + len(told.counted) == 100
    assert len(told.counted) == 5


OUTPUT = Output(
    kind=Kind.aggregate,
    key=("shop", "hour"),
    columns=(
        Column(name="shop", type="STRING"),
        Column(name="hour", type="TIMESTAMP(3)"),
        Column(name="n", type="BIGINT"),
    ),
    select="",
)


class Sql:
    """A count per shop and hour of the records for which a condition holds, perhaps with a HAVING."""

    def __init__(
        self,
        keeps: Callable[[int], bool],
        having: int = 1,
        shops: Callable[[int], str] = lambda n: "a",
    ) -> None:
        self.keeps, self.having, self.shops, self.runs = keeps, having, shops, 0

    def of(self, groups: Sequence[Collection[Place]]) -> list[list[rows.Row]]:
        self.runs += len(groups)
        return [self.over({place.offset for place in group}) for group in groups]

    def over(self, offsets: Collection[int]) -> list[rows.Row]:
        counts = Counter(self.shops(n) for n in offsets if self.keeps(n))
        return [
            {"shop": shop, "hour": wall(9), "n": n}
            for shop, n in sorted(counts.items(), reverse=True)
            if n >= self.having
        ]


def how(count: str = "n", **plan: bool) -> How:
    known = {"shop": "a", "hour": wall(9), "n": -1}
    key = {"shop": "a"}
    return How(OUTPUT, key, known, False, frozenset({"hour"}), count, **plan)


def classes(found: Verdict) -> dict[str, set[int]]:
    """What became of records → their offsets."""
    became: dict[str, set[int]] = {}
    for e in found.evidence:
        became.setdefault(e.became.value, set()).add(e.candidate.place.offset)
    return became


@pytest.mark.parametrize(
    ("keeps", "having", "count"),
    [
        pytest.param(lambda n: n % 3 == 0, 1, "n", id="WHERE, with a count"),
        pytest.param(lambda n: n % 3 == 0, 1, "", id="WHERE, without one"),
        pytest.param(lambda n: n % 3 == 0, 6, "", id="HAVING"),
        pytest.param(lambda n: True, 1, "", id="nothing left out"),
    ],
)
def test_runs_over_some_records_tell_which_count(
    keeps: Callable[[int], bool], having: int, count: str
) -> None:
    units = [candidate(n) for n in range(20)]
    sql = Sql(keeps, having)
    target = how().pick(sql.over(range(20)))
    found = tell(sql, how(count), units, target)
    assert classes(found)["counted"] == set(filter(keeps, range(20)))
    assert found.row == target
    assert sql.runs < 2 * MOST


def test_where_the_plan_leaves_nothing_out_one_run_is_enough() -> None:
    sql = Sql(lambda n: True)
    found = tell(
        sql, how("", keeps_all=True), [candidate(n) for n in range(500)], {"n": 500, **WHERE}
    )
    assert (sql.runs, len(found.evidence)) == (1, 500)
    assert {e.became for e in found.evidence} == {Became.counted}


WHERE = {"shop": "a", "hour": wall(9)}


def test_where_nothing_tells_rows_apart_only_the_very_row_counts() -> None:
    # an hour's count of a table that shows no hour: the key is not known
    class Hours(Sql):
        def over(self, offsets: Collection[int]) -> list[rows.Row]:
            counts = Counter(n // 10 for n in offsets)
            return [{"shop": "a", "hour": None, "n": n} for n in counts.values()]

    asked = replace(
        how("", alone=False), output=OUTPUT.model_copy(update={"key": ()}), window=frozenset()
    )
    units = [candidate(n) for n in (0, 1, 2, 10, 11, 20)]
    for n, expected in ((2, {"counted": {10, 11}, "no effect": {0, 1, 2, 20}}), (4, None)):
        known = {"shop": "a", "hour": None, "n": n}
        found = tell(
            Hours(lambda n: True), replace(asked, known=known), units, known if expected else None
        )
        assert classes(found) == (expected or {"not told": {0, 1, 2, 10, 11, 20}})
        assert found.row == (known if expected else None)


class Sessions:
    """The count of each run of offsets without a gap; a row shows where it begins."""

    def of(self, groups: Sequence[Collection[Place]]) -> list[list[rows.Row]]:
        return [self.over({place.offset for place in group}) for group in groups]

    def over(self, offsets: Collection[int]) -> list[rows.Row]:
        begins = [n for n in offsets if n - 1 not in offsets]
        lasts = {b: next(n for n in itertools.count(b) if n not in offsets) for b in begins}
        return [{"shop": "a", "hour": wall(0, b), "n": last - b} for b, last in lasts.items()]


@pytest.mark.parametrize("shown", ["hour", "", "both"])
def test_records_of_other_sessions_do_not_count(tmp_path: Path, shown: str) -> None:
    outputs = {"rows": {}, "sums": {"key": ["day"]}}
    product = folders.write(tmp_path, settings={**folders.SETTINGS, "outputs": outputs})
    known = {**WHERE, "n": 3, "hour": wall(0, 10), "end": wall(1), "day": date(2024, 1, 1)}
    of = gathering(product, known)
    columns = {"hour": ("hour", None), "": (None, None), "both": ("hour", "end")}[shown]
    of.lineage.__dict__["window"] = WindowColumns(*columns, is_session=True, is_exact=False)
    found = how_of(of, {"shop": "a"}, "UTC")
    assert found.alone is found.is_session is (shown == "both")
    if shown != "both":
        units = [candidate(n) for n in (1, 2, 10, 11, 12, 20)]
        asked = replace(found, output=OUTPUT, key={"shop": "a"})
        told = tell(Sessions(), asked, units, {**WHERE, "n": 3, "hour": wall(0, 10)})
        assert classes(told) == {"counted": {10, 11, 12}, "no effect": {1, 2, 20}}


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        pytest.param(None, False, id="none"),
        pytest.param(WindowColumns("hour", None, 3600), True, id="where it begins"),
        pytest.param(
            WindowColumns(None, "hour", 3600, is_exact=False), True, id="the end of a step"
        ),
        pytest.param(WindowColumns("hour", None, 3600, is_exact=False), False, id="of all steps"),
    ],
)
def test_a_key_that_shows_no_window_is_that_of_several_rows(
    tmp_path: Path, window: WindowColumns | None, expected: bool
) -> None:
    outputs = {"rows": {}, "sums": {"key": ["day"]}}
    product = folders.write(tmp_path, settings={**folders.SETTINGS, "outputs": outputs})
    of = gathering(product, {**WHERE, "day": date(2024, 1, 1)})
    of.lineage.__dict__["window"] = window
    assert how_of(of, {"shop": "a"}, "UTC").alone is expected


def test_records_of_other_rows_are_neither_counted_nor_filtered() -> None:
    # the key is a computed column: each second record is of another shop
    sql = Sql(lambda n: n % 4 < 2, shops=lambda n: "az"[n % 2])
    plan_without_filter = Sql(lambda n: True, shops=lambda n: "az"[n % 2])
    units = [candidate(n) for n in range(8)]
    for run, filtered in ((sql, {2, 3, 6, 7}), (plan_without_filter, set())):
        for count in ("n", ""):
            found = tell(
                run,
                how(count, keeps_all=not filtered),
                units,
                how().pick(run.over(range(8))),
            )
            became = classes(found)
            assert became["counted"] == {n for n in range(0, 8, 2) if n not in filtered}
            assert became.get("filtered", set()) == filtered


def test_overlapping_windows_give_rows_besides_that_of_all_records() -> None:
    class Hops(Sql):
        def over(self, offsets: Collection[int]) -> list[rows.Row]:
            found = super().over(offsets)
            return [*({**row, "hour": wall(10)} for row in found), *found]

    units = [candidate(n) for n in range(500)]
    sql, target = Hops(lambda n: True), {"n": 500, **WHERE}
    found = tell(sql, how("", keeps_all=True, overlaps=True), units, target)
    assert (sql.runs, classes(found)) == (1, {"counted": set(range(500))})


class Newest:
    """The newest record of a key, by its offset."""

    def of(self, groups: Sequence[Collection[Place]]) -> list[list[rows.Row]]:
        return [[{**WHERE, "n": max(p.offset for p in g)}] if g else [] for g in groups]


def test_records_that_others_keep_out_do_not_count() -> None:
    units = [candidate(n) for n in range(3)]
    found = tell(Newest(), how("", alone=False), units, {**WHERE, "n": 2})
    assert classes(found) == {"counted": {2}, "no effect": {0, 1}}
    assert found.row == {**WHERE, "n": 2}


def test_where_others_matter_a_row_that_is_not_there_tells_nothing_of_single_records() -> None:
    found = tell(Sql(lambda n: False), how("", alone=False), [candidate(0), candidate(1)], None)
    assert classes(found) == {"not told": {0, 1}}
    assert found.row is None


def test_records_of_which_none_counts_give_no_row() -> None:
    found = tell(Sql(lambda n: False), how(), [candidate(n) for n in range(3)], None)
    assert found.row is None
    assert {e.became for e in found.evidence} == {Became.filtered}
