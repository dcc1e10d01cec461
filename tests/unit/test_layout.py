"""Partition spec and sort order as product.yaml has them."""

from __future__ import annotations

import pytest

from jobs.product.layout import Layout, LayoutError, Partition, Sort, layout

COLUMNS = {
    "hour": "TIMESTAMP(6)",
    "at": "TIMESTAMP_LTZ(6)",
    "day": "DATE",
    "shop": "STRING",
    "id": "BIGINT",
    "price": "DECIMAL(10, 2)",
    "share": "DOUBLE",
    "item": "ROW<`a` INT>",
    "order of": "INT",
    "at_month": "INT",
}

FIELDS = {
    "shop": Partition("shop", "identity"),
    "day(hour)": Partition("hour", "day"),
    "hour(at)": Partition("at", "hour"),
    "month(day)": Partition("day", "month"),
    "YEAR( day )": Partition("day", "year"),
    "bucket(16, id)": Partition("id", "bucket", 16),
    "truncate(4,shop)": Partition("shop", "truncate", 4),
    "`order of`": Partition("order of", "identity"),
    "bucket(2, `order of`)": Partition("order of", "bucket", 2),
}


@pytest.mark.parametrize(("text", "field"), FIELDS.items(), ids=FIELDS)
def test_a_partition_field(text: str, field: Partition) -> None:
    assert layout([text], [], COLUMNS) == Layout((field,))


def test_a_sort_order() -> None:
    assert layout([], ["shop", "hour DESC", "`order of` asc"], COLUMNS).sort == (
        Sort("shop"),
        Sort("hour", descending=True),
        Sort("order of"),
    )


def test_names_and_transforms_are_those_of_icebergs_own_engines() -> None:
    fields = layout(
        ["shop", "day(hour)", "bucket(16, id)", "truncate(4, shop)"], [], COLUMNS
    ).partition
    assert [(f.name, f.iceberg, str(f)) for f in fields] == [
        ("shop", "identity", "shop"),
        ("hour_day", "day", "day(hour)"),
        ("id_bucket_16", "bucket[16]", "bucket(16, id)"),
        ("shop_trunc_4", "truncate[4]", "truncate(4, shop)"),
    ]


FORMS = "COLUMN, year(COLUMN), month(…), day(…), hour(…), bucket(N, COLUMN) or truncate(N, COLUMN)"
OF_OUTPUT = f"a column of the output: {', '.join(COLUMNS)}"
WRONG = [
    (["days(hour)"], [], f"partition[0]: expected {FORMS}, found days(hour)"),
    (["shop", "bucket(id, 16)"], [], f"partition[1]: expected {FORMS}, found bucket(id, 16)"),
    (
        ["bucket(id)"],
        [],
        "partition[0]: expected bucket(N, id) with N of at least 1, found bucket(id)",
    ),
    (
        ["bucket(0, id)"],
        [],
        "partition[0]: expected bucket(N, id) with N of at least 1, found bucket(0, id)",
    ),
    (
        ["bucket(2000, id)"],
        [],
        "partition[0]: expected at most 1,024 buckets, found bucket(2000, id)",
    ),
    (["day(4, hour)"], [], "partition[0]: expected day(hour), found day(4, hour)"),
    (["shpo"], [], f"partition[0]: expected {OF_OUTPUT}, found shpo (did you mean shop?)"),
    (["Shop"], [], f"partition[0]: expected {OF_OUTPUT}, found Shop (did you mean shop?)"),
    (
        ["hour"],
        [],
        "partition[0]: expected a column of whole or decimal numbers, text, bytes, BOOLEAN, DATE or TIME; "
        "of a TIMESTAMP day(`hour`) or hour(`hour`), found hour TIMESTAMP(6)",
    ),
    (
        ["day(shop)"],
        [],
        "partition[0]: expected a DATE, TIMESTAMP or TIMESTAMP_LTZ, found shop STRING",
    ),
    (["hour(day)"], [], "partition[0]: expected a TIMESTAMP or TIMESTAMP_LTZ, found day DATE"),
    (
        ["bucket(4, share)"],
        [],
        "partition[0]: expected a column of whole or decimal numbers, text, bytes, DATE, TIME "
        "or TIMESTAMP, found share DOUBLE",
    ),
    (
        ["item"],
        [],
        "partition[0]: expected a column of whole or decimal numbers, text, bytes, BOOLEAN, DATE or TIME; "
        "of a TIMESTAMP day(`item`) or hour(`item`), found item ROW<`a` INT>",
    ),
    (["item.a"], [], f"partition[0]: expected {FORMS}, found item.a"),
    (["shop", "shop"], [], "partition[1]: expected each entry once, found shop again"),
    (
        ["day(hour)", "hour(hour)"],
        [],
        "partition[1]: expected one of year, month, day and hour for hour, found day(hour) and hour(hour)",
    ),
    (
        ["month(at)"],
        [],
        "partition[0]: expected no column called at_month, as the partition of month(at) is, "
        "found column at_month",
    ),
    ([], ["shop down"], "sort[0]: expected COLUMN, COLUMN asc or COLUMN desc, found shop down"),
    ([], ["day(hour)"], "sort[0]: expected COLUMN, COLUMN asc or COLUMN desc, found day(hour)"),
    ([], ["nothing"], f"sort[0]: expected {OF_OUTPUT}, found nothing"),
    ([], ["item"], "sort[0]: expected a column without parts, found item ROW<`a` INT>"),
    ([], ["shop", "shop desc"], "sort[1]: expected each column once, found shop again"),
]


@pytest.mark.parametrize(
    ("partition", "sort", "text"), WRONG, ids=[str(w[0] or w[1]) for w in WRONG]
)
def test_what_iceberg_cannot_do_is_refused(
    partition: list[str], sort: list[str], text: str
) -> None:
    with pytest.raises(LayoutError) as e:
        layout(partition, sort, COLUMNS)
    assert str(e.value) == text


def test_an_entry_is_printed_as_it_is_read() -> None:
    entries = ["day(hour)", "shop", "bucket(16, id)"]
    assert [str(f) for f in layout(entries, [], COLUMNS).partition] == entries
    assert [str(k) for k in layout([], ["shop", "hour desc"], COLUMNS).sort] == [
        "shop",
        "hour desc",
    ]
