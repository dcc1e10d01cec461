"""The checks of our own products: what they find, and that windows which are still open are no fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pyiceberg.io.pyarrow import schema_to_pyarrow

from jobs.product.folder import Product
from replay.iceberg.table_types import iceberg_schema
from replay.query.duck import connect
from tests.unit import products
from tests.unit.products import FLIGHTS, ORDERS


@contextmanager
def empty_tables(product: Product) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB with the product's tables, for rows that a test makes up."""
    with connect() as connection:
        for table in product.outputs:
            connection.register(
                "no_rows",
                schema_to_pyarrow(
                    iceberg_schema(product, table), include_field_ids=False
                ).empty_table(),
            )
            connection.execute(f'CREATE TABLE "{table}" AS SELECT * FROM no_rows')
            connection.unregister("no_rows")
        yield connection


@pytest.fixture
def flights() -> Iterator[duckdb.DuckDBPyConnection]:
    with empty_tables(products.flights()) as connection:
        yield connection


@pytest.fixture
def orders() -> Iterator[duckdb.DuckDBPyConnection]:
    with empty_tables(products.orders()) as connection:
        yield connection


def insert(connection: duckdb.DuckDBPyConnection, table: str, *rows: dict[str, Any]) -> None:
    for row in rows:
        connection.execute(
            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
            list(row.values()),
        )


def offending(connection: duckdb.DuckDBPyConnection, file: Path) -> list[tuple[Any, ...]]:
    return connection.execute(file.read_text()).fetchall()


def departure(left: str, delay: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "origin": "JFK",
        "dest": "LAX",
        "carrier": "B6",
        "departure_local": f"2013-{left}",
        "dep_delay": delay,
        "arr_delay": delay,
        "cancelled": False,
        "log_partition": 0,
        **fields,
    }


def cancelled(at: str) -> dict[str, Any]:
    return {
        **departure(at),
        "departure_local": None,
        "dep_delay": None,
        "arr_delay": None,
        "cancelled": True,
        "scheduled_departure_local": f"2013-{at}",
    }


def hour(
    at: str, flights: int, delay: float | None, worst: int | None, cancelled: int = 0
) -> dict[str, Any]:
    return {
        "origin": "JFK",
        "carrier": "B6",
        "hour": f"2013-{at}:00",
        "flights": flights,
        "cancelled": cancelled,
        "mean_dep_delay": delay,
        "worst_dep_delay": worst,
    }


def day(
    at: str, flights: int, delay: float | None, worst: int | None, cancelled: int = 0
) -> dict[str, Any]:
    return {
        "origin": "JFK",
        "dest": "LAX",
        "day": f"2013-{at}",
        "flights": flights,
        "cancelled": cancelled,
        "mean_dep_delay": delay,
        "mean_arr_delay": delay,
        "worst_arr_delay": worst,
    }


SEVEN = (departure("05-01 07:10", 4), departure("05-01 07:50", 7), cancelled("05-01 07:55"))
EIGHT = departure("05-01 08:00", 1)
BEHIND = departure("05-01 07:00", log_partition=1)
# whatever it says: of eight o'clock there may be departures to come
AT_EIGHT = hour("05-01 08", 9, 5.5, 7)


@pytest.mark.parametrize(
    ("departed", "hours", "expected"),
    [
        pytest.param((), (), 0, id="nothing yet"),
        pytest.param((), (hour("05-01 07", 3, 5.5, 7, 1), AT_EIGHT), 0, id="departures behind"),
        pytest.param(SEVEN, (), 0, id="an open hour"),
        pytest.param(
            (*SEVEN, EIGHT),
            (hour("05-01 07", 3, 5.5, 7, 1), AT_EIGHT),
            0,
            id="a closed hour and an open one",
        ),
        pytest.param(
            (*SEVEN, EIGHT),
            (hour("05-01 06", 1, 0.0, 0), hour("05-01 07", 3, 5.5, 7, 1), AT_EIGHT),
            1,
            id="an hour without departures",
        ),
        pytest.param(
            (departure("05-01 06:00"), *SEVEN, EIGHT),
            (hour("05-01 06", 1, 0.0, 0),),
            0,
            id="a window behind its departures",
        ),
        pytest.param(
            (BEHIND, *SEVEN, EIGHT),
            (hour("05-01 07", 9, 5.5, 7, 1), AT_EIGHT),
            0,
            id="a partition behind",
        ),
        pytest.param((*SEVEN, EIGHT), (), 1, id="no hours at all"),
        pytest.param((*SEVEN, EIGHT), (AT_EIGHT,), 1, id="an hour is missing"),
        pytest.param(
            (EIGHT,), (hour("05-01 07", 3, 5.5, 7, 1), AT_EIGHT), 1, id="departures are missing"
        ),
        pytest.param((*SEVEN, EIGHT), (hour("05-01 07", 2, 5.5, 7), AT_EIGHT), 1, id="too few"),
        pytest.param(
            (*SEVEN, EIGHT), (hour("05-01 07", 3, 5.0, 7, 1), AT_EIGHT), 1, id="another mean"
        ),
        pytest.param(
            (*SEVEN, EIGHT), (hour("05-01 07", 3, 5.5, 8, 1), AT_EIGHT), 1, id="another worst"
        ),
        pytest.param(
            (*SEVEN, EIGHT),
            (hour("05-01 07", 2, 4.0, 4, 1), hour("05-01 07", 1, 7.0, 7), AT_EIGHT),
            0,
            id="an hour of the wall clock that there is twice",
        ),
        pytest.param(
            (cancelled("05-01 07:10"), EIGHT),
            (hour("05-01 07", 1, None, None, 1), AT_EIGHT),
            0,
            id="none left",
        ),
    ],
)
def test_hours_add_up(
    flights: duckdb.DuckDBPyConnection,
    departed: tuple[dict[str, Any], ...],
    hours: tuple[dict[str, Any], ...],
    expected: int,
) -> None:
    insert(flights, "departures", *departed)
    insert(flights, "hourly_departures", *hours)
    assert len(offending(flights, FLIGHTS / "checks" / "hours_add_up.sql")) == expected


THE_SECOND = day("05-02", 9, 0.0, 0)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        pytest.param((day("05-01", 3, 5.5, 7, 1), THE_SECOND), 0, id="equal"),
        pytest.param((), 1, id="no days at all"),
        pytest.param((THE_SECOND,), 1, id="missing"),
        pytest.param((day("05-01", 4, 5.5, 7, 1), THE_SECOND), 1, id="too many"),
        pytest.param((day("05-01", 4, 5.5, 7, 1),), 0, id="a window behind its departures"),
    ],
)
def test_days_add_up(
    flights: duckdb.DuckDBPyConnection, days: tuple[dict[str, Any], ...], expected: int
) -> None:
    insert(flights, "departures", *SEVEN, departure("05-02 00:01"))
    insert(flights, "daily_routes", *days)
    assert len(offending(flights, FLIGHTS / "checks" / "days_add_up.sql")) == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        pytest.param(
            {
                "cancelled": False,
                "departure_utc": "2013-05-01 12:00:00",
                "arrival_utc": "2013-05-01 15:00:00",
            },
            0,
            id="left and arrived",
        ),
        pytest.param(
            {"cancelled": False, "departure_utc": "2013-05-01 12:00:00", "arrival_utc": None},
            0,
            id="left",
        ),
        pytest.param(
            {"cancelled": True, "departure_utc": None, "arrival_utc": None}, 0, id="cancelled"
        ),
        pytest.param(
            {"cancelled": True, "departure_utc": "2013-05-01 12:00:00", "arrival_utc": None},
            1,
            id="both",
        ),
        pytest.param(
            {"cancelled": False, "departure_utc": None, "arrival_utc": None}, 1, id="neither"
        ),
        pytest.param(
            {"cancelled": True, "departure_utc": None, "arrival_utc": "2013-05-01 15:00:00"},
            1,
            id="arrived",
        ),
        pytest.param(
            {
                "cancelled": False,
                "departure_utc": "2013-05-01 12:00:00",
                "arrival_utc": "2013-05-01 12:00:00",
            },
            1,
            id="arrived when it left",
        ),
    ],
)
def test_cancelled_never_left(
    flights: duckdb.DuckDBPyConnection, row: dict[str, Any], expected: int
) -> None:
    insert(flights, "departures", row)
    assert len(offending(flights, FLIGHTS / "checks" / "cancelled_never_left.sql")) == expected


def test_kept_and_rejected(flights: duckdb.DuckDBPyConnection) -> None:
    insert(
        flights,
        "departures",
        {"log_partition": 0, "log_offset": 1},
        {"log_partition": 0, "log_offset": 2},
    )
    insert(
        flights,
        "rejects",
        {"log_topic": "weather", "log_partition": 0, "log_offset": 1},
        {"log_topic": "flights", "log_partition": 1, "log_offset": 1},
        {"log_topic": "flights", "log_partition": 0, "log_offset": 2, "reason": "late"},
    )
    assert offending(flights, FLIGHTS / "checks" / "kept_and_rejected.sql") == [(0, 2, "late")]


FIRST_HOUR = {"shop": "a", "hour": "2024-01-01 00:00:00", "orders": 2, "cents": 30}
LATER_HOUR = {"shop": "a", "hour": "2024-01-01 01:00:00", "orders": 1, "cents": 5}


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        pytest.param((FIRST_HOUR, LATER_HOUR), 0, id="equal"),
        pytest.param(({**FIRST_HOUR, "cents": 31}, LATER_HOUR), 1, id="other cents"),
        pytest.param((LATER_HOUR,), 1, id="missing"),
        pytest.param((), 0, id="no window has closed, though rows are written"),
        pytest.param((FIRST_HOUR,), 0, id="no later window has closed"),
    ],
)
def test_hours_of_orders_add_up(
    orders: duckdb.DuckDBPyConnection, hours: tuple[dict[str, Any], ...], expected: int
) -> None:
    insert(
        orders,
        "order_rows",
        *(
            {"shop": "a", "ordered_at": f"2024-01-01 {at}:00", "cents": cents}
            for at, cents in (("00:10", 10), ("00:59", 20), ("01:00", 5))
        ),
    )
    insert(orders, "hourly_orders", *hours)
    assert len(offending(orders, ORDERS / "checks" / "hours_add_up.sql")) == expected
