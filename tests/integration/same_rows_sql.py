"""SQL that the safety check lets in, made up: every kind of statement over topics, views and each other."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from tests.integration.same_rows_words import (
    AGGREGATES,
    EXACT_OVER,
    KEYED,
    LITERALS,
    SOURCES,
    VALUES,
    Source,
    Statement,
)


class Maker:
    """Makes statements by chance."""

    def __init__(self, chance: random.Random, *, has_sessions: bool) -> None:
        """`has_sessions` where clocks are never set: elsewhere the check refuses them."""
        self._chance, self._has_sessions = chance, has_sessions

    def statement(self) -> Statement:
        kinds = [k for k in _KINDS if self._has_sessions or "session" not in k]
        kind = self._chance.choices(kinds, [_KINDS[k][0] for k in kinds])[0]
        made = _KINDS[kind][1](self)
        return made if isinstance(made, Statement) else Statement(made, kind)

    # Values

    def _one(self, *of: str) -> str:
        return self._chance.choice(of)

    def _value(self, source: Source, type_: str, depth: int = 2) -> str:
        """An expression of a type."""
        columns = source.of(type_)
        if depth == 0 or self._chance.random() < 0.35:
            return self._chance.choice(columns) if columns else LITERALS[type_]
        text = self._chance.choice(VALUES[type_])
        while "{" in text:
            before, _, rest = text.partition("{")
            wanted, _, after = rest.partition("}")
            text = before + self._value(source, wanted, depth - 1).replace("{", "") + after
        return f"({text})"

    def _condition(self, source: Source) -> str:
        return self._value(source, "BOOLEAN", 2)

    def _aggregates(
        self, source: Source, count: int | None = None, *, is_over: bool = False
    ) -> list[str]:
        """Without names."""
        return [
            self._aggregate(source, is_over=is_over)
            for _ in range(count or self._chance.randint(1, 4))
        ]

    def _aggregate(self, source: Source, *, is_over: bool = False) -> str:
        templates = AGGREGATES[:EXACT_OVER] if is_over else AGGREGATES
        template = self._chance.choice(templates)
        text = template
        for type_ in ("BIGINT", "DECIMAL", "STRING", "BOOLEAN", "TIME", "FINITE"):
            if f"{{{type_}}}" in text:
                value = self._finite(source) if type_ == "FINITE" else self._value(source, type_, 1)
                text = text.replace(f"{{{type_}}}", value)
        if not is_over and self._chance.random() < 0.25:
            text += f" FILTER (WHERE {self._condition(source)})"
        return text

    def _finite(self, source: Source) -> str:
        columns = source.of("DOUBLE")
        return (
            f"CASE WHEN ABS({columns[0]}) < 1e300 THEN {columns[0]} END"
            if columns
            else "CAST(n AS DOUBLE)"
        )

    def _source(self, *, needs_place: bool = False) -> Source:
        found = self._chance.choice([s for s in SOURCES if s.place or not needs_place])
        if self._chance.random() < 0.3 and found.sql != "counted":
            columns = ", ".join(found.columns)
            found = replace(
                found, sql=f"(SELECT {columns} FROM {found.sql} WHERE {self._condition(found)})"
            )
        return found

    # Windows

    def _window(self, source: Source) -> str:
        """TABLE(TUMBLE(…)), or another."""
        minutes = self._chance.choice((1, 5, 10, 15, 30, 60, 90, 120, 1440))
        step = self._chance.choice(
            [m for m in (1, 5, 10, 15, 30, 60, 720) if minutes % m == 0 and minutes // m <= 24]
        )
        kind = self._one("TUMBLE", "TUMBLE", "HOP", "CUMULATE")
        sizes = [minutes] if kind == "TUMBLE" else [step, minutes]
        if self._chance.random() < 0.25:
            sizes.append(self._chance.choice([m for m in (1, 3, 7, 60, -2) if m < minutes] or [0]))
        text = ", ".join(_minutes(m) for m in sizes)
        return f"TABLE({kind}({source.table}, DESCRIPTOR({source.time}), {text}))"

    def _keys(self, source: Source) -> list[str]:
        names = [
            c
            for c in ("k", "g", "b", "log_topic", "tag", "city", "log_partition")
            if c in source.columns
        ]
        return self._chance.sample(names, min(len(names), self._chance.choice((0, 1, 1, 2))))

    def grouped(self) -> str:
        """Aggregates of windows."""
        source = self._source()
        keys = self._keys(source)
        by = list(keys)
        if keys and self._chance.random() < 0.4:
            sets = [f"({', '.join(self._chance.sample(keys, n))})" for n in range(len(keys) + 1)]
            by = [
                self._one(
                    f"GROUPING SETS ({', '.join(sets)})",
                    f"ROLLUP ({', '.join(keys)})",
                    f"CUBE ({', '.join(keys)})",
                )
            ]
        aggregates = self._aggregates(source)
        having = self._one("", "", "", " HAVING COUNT(*) > 1")
        return (
            f"SELECT {_listed('window_start', 'window_end', *keys, *aggregates)}\nFROM {self._window(source)}\n"
            f"GROUP BY {', '.join(('window_start', 'window_end', *by))}{having}"
        )

    def cascade(self) -> str:
        """Windows of windows."""
        source = self._source()
        keys = self._keys(source)
        inner_keys = [*keys, *(["k"] if "k" not in keys else [])]
        inner = (
            f"(SELECT window_time AS ts, {_named(inner_keys)}COUNT(*) AS n, {self._aggregate(source)} AS v\nFROM "
            f"{self._tumble(source, (1, 5, 10))}\n"
            f"GROUP BY window_start, window_end, window_time, {', '.join(inner_keys)})"
        )
        outer = self._tumble(Source(inner, {"ts": "TIME"}), (30, 60, 1440))
        return (
            f"SELECT {_listed('window_start', *keys)}, COUNT(*) AS c, SUM(n) AS s, COUNT(DISTINCT v) AS e, "
            f"MAX(n) AS m\nFROM {outer}\nGROUP BY {', '.join(('window_start', 'window_end', *keys))}"
        )

    def _tumble(self, source: Source, minutes: tuple[int, ...]) -> str:
        return (
            f"TABLE(TUMBLE({source.table}, DESCRIPTOR({source.time}), "
            f"{_minutes(self._chance.choice(minutes))}))"
        )

    def legacy(self) -> str:
        """GROUP BY TUMBLE(…)."""
        source = self._source()
        keys = self._keys(source)
        window = f"TUMBLE({source.time}, {_minutes(self._chance.choice((1, 10, 60)))})"
        start = window.replace("TUMBLE", "TUMBLE_START", 1)
        aggregates = self._aggregates(source, is_over=True)
        return (
            f"SELECT {start} AS w, {_named(keys)}{_listed(*aggregates)}\nFROM {source.sql}\n"
            f"GROUP BY {', '.join((window, *keys))}"
        )

    def top(self) -> str:
        """The first rows of each window, in a total order."""
        source = self._source(needs_place=True)
        keys = self._keys(source)
        order = self._chance.sample(
            [c for c in ("n", "d", "s", "ts", "seen", "k") if c in source.columns], 2
        )
        by = ", ".join(f"{c}{self._one('', ' DESC')}" for c in (*order, *source.place))
        inner = (
            f"SELECT *, ROW_NUMBER() OVER (PARTITION BY {', '.join(('window_start', 'window_end', *keys))} "
            f"ORDER BY {by}) AS place FROM {self._window(source)}"
        )
        columns = ["window_start", "window_end", *source.place, "id", *order, *self._values(source)]
        return (
            f"SELECT {_listed(*columns)}\nFROM ({inner})\nWHERE place <= {self._one('1', '2', '5')}"
        )

    def top_groups(self) -> str:
        """The first groups of each window."""
        source = self._source()
        key = self._chance.choice(source.of("STRING"))
        inner = (
            f"SELECT window_start AS w, window_end AS e, {key} AS f, COUNT(*) AS c, "
            f"{self._aggregate(source)} AS v FROM {self._window(source)} GROUP BY window_start, "
            f"window_end, {key}"
        )
        order = self._one("c", "c DESC")
        return (
            f"SELECT w, f, c, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY w, e ORDER BY {order}, f) AS place "
            f"FROM ({inner}))\nWHERE place <= {self._one('1', '3')}"
        )

    def deduplicated(self) -> str:
        """An event of each window."""
        source = self._chance.choice(SOURCES[1:4])
        inner = (
            f"SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, id ORDER BY ts "
            f"{self._one('', 'DESC')}) AS place FROM {self._tumble(source, (1, 10, 60))}"
        )
        return f"SELECT {_listed('id', 'window_start', *self._values(source))}\nFROM ({inner})\nWHERE place = 1"

    # Rows

    def _values(self, source: Source) -> list[str]:
        types = ("BIGINT", "DECIMAL", "STRING", "BOOLEAN", "DOUBLE", "TIME")
        return [self._value(source, self._one(*types)) for _ in range(self._chance.randint(1, 4))]

    def projection(self) -> str:
        """Values of a row."""
        source = self._source()
        where = f"\nWHERE {self._condition(source)}" if self._chance.random() < 0.5 else ""
        own = [source.time, *(c for c in ("id", *source.place) if c in source.columns)]
        return f"SELECT {_listed(*own, *self._values(source), *self._values(source))}\nFROM {source.sql}{where}"

    def row(self) -> Statement:
        """A table of kind rows."""
        source = self._chance.choice(SOURCES[:3])
        return Statement(
            f"SELECT {_listed('id', 'ts', *self._values(source))}\nFROM {source.sql}", "row", {}
        )

    def union(self) -> str:
        """Rows of two sources."""
        some = [self._source() for _ in range(self._chance.choice((2, 3)))]
        common = [
            c
            for c, type_ in some[0].columns.items()
            if all(s.columns.get(c) == type_ for s in some)
        ]
        return "\nUNION ALL\n".join(f"SELECT {', '.join(common)} FROM {s.sql}" for s in some)

    def over(self) -> str:
        """Aggregates of the rows of the last minutes."""
        source = self._source()
        keys = self._keys(source)
        by = f"PARTITION BY {', '.join(keys)} " if keys else ""
        length = self._one("'0' SECOND", "'1' MINUTE", "'5' MINUTE", "'10' MINUTE", "'1' HOUR")
        aggregates = [f"{a} OVER w" for a in self._aggregates(source, is_over=True)]
        own = [c for c in ("ts", "id", *source.place) if c in source.columns]
        return (
            f"SELECT {_listed(*own, *keys, *aggregates)}\nFROM {source.sql}\nWINDOW w AS ({by}ORDER BY "
            f"{source.time} RANGE BETWEEN INTERVAL {length} PRECEDING AND CURRENT ROW)"
        )

    # What depends on the order of rows: of the log where a key has a partition of its own

    def sessions(self) -> str:
        """Aggregates of a key's sessions."""
        source = self._source()
        keys = ", ".join(self._keys(source) or ["k"])
        return (
            f"SELECT {_listed('window_start', 'window_end', *keys.split(', '), *self._aggregates(source))}\nFROM "
            f"{self._session(source, keys)}\nGROUP BY window_start, window_end, {keys}"
        )

    def _session(self, source: Source, keys: str) -> str:
        return (
            f"TABLE(SESSION({source.table} PARTITION BY ({keys}), DESCRIPTOR({source.time}), "
            f"{_minutes(self._chance.choice((1, 5, 5, 10)))}))"
        )

    def rows_of_sessions(self) -> str:
        """Each row with its session."""
        source = self._source()
        return (
            f"SELECT {_listed('window_start', 'window_end', 'k', *self._values(source))}\nFROM "
            f"{self._session(source, 'k')}"
        )

    def legacy_sessions(self) -> str:
        """GROUP BY SESSION(…)."""
        source = self._source()
        window = f"SESSION({source.time}, {_minutes(self._chance.choice((1, 5, 10)))})"
        start, end = (
            window.replace("SESSION", f"SESSION_{which}", 1) for which in ("START", "END")
        )
        aggregates = self._aggregates(source, is_over=True)
        return f"SELECT {start} AS w, {end} AS e, k, {_listed(*aggregates)}\nFROM {source.sql}\nGROUP BY {window}, k"

    def _keyed(self) -> Source:
        source = self._chance.choice([s for s in SOURCES if s.sql in KEYED])
        if self._chance.random() < 0.3:
            source = replace(
                source, sql=f"(SELECT * FROM {source.sql} WHERE {self._condition(source)})"
            )
        return source

    def over_rows(self) -> str:
        """Aggregates of a key's last rows, or of all of them."""
        source = self._keyed()
        by = self._one("k", "k, g")
        if self._chance.random() < 0.3:
            functions = [
                f"ROW_NUMBER() OVER (PARTITION BY {by} ORDER BY ts, log_partition, log_offset)"
            ]
        else:
            over = (
                f"OVER (PARTITION BY {by} ORDER BY ts ROWS BETWEEN {self._one('1', '3', '20')} PRECEDING AND "
                "CURRENT ROW)"
            )
            functions = [f"{a} {over}" for a in self._aggregates(source, is_over=True)]
        return f"SELECT {_listed('id', 'ts', 'k', *source.place, *functions)}\nFROM {source.sql}"

    def lag(self) -> str:
        """A key's row before."""
        if self._chance.random() < 0.25:
            return "SELECT k, w, n, LAG(n) OVER (PARTITION BY k ORDER BY ts) AS before FROM counted"
        source = self._keyed()
        order = self._one("ts", "ts, log_partition, log_offset")
        calls = [
            f"LAG({self._value(source, self._one('BIGINT', 'STRING', 'DECIMAL', 'TIME'), 1)}"
            f"{self._one('', ', 1', ', 2')}) OVER (PARTITION BY k ORDER BY {order})"
            for _ in range(2)
        ]
        return f"SELECT {_listed('id', 'ts', 'k', *source.place, *calls)}\nFROM {source.sql}"

    def pattern(self) -> str:
        """Rows that follow each other."""
        source = (
            self._keyed()
            if self._chance.random() < 0.5
            else self._chance.choice(
                [s for s in SOURCES if s.sql in ("readings", "orders", "payments", "recent")]
            )
        )
        is_keyed = any(topic in source.sql for topic in KEYED)
        order = (
            "ts" if is_keyed and self._chance.random() < 0.5 else "ts, log_partition, log_offset"
        )
        rows = self._one("A B", "A B+ C", "A B* C", "A B? C", "A B{2}", "A+? B")
        names = sorted({c for c in rows if c.isalpha()} - {"A"})
        defined = {
            name: self._one(
                f"{name}.n > A.n",
                f"{name}.b",
                f"{name}.n IS NOT NULL",
                f"{name}.n < 5",
                f"{name}.g = 'u'",
            )
            for name in names
        }
        skip = self._one("PAST LAST ROW", "TO NEXT ROW")
        last, first = names[-1], names[0]
        measures = (
            f"A.id AS a, LAST({last}.id) AS z, COUNT({first}.n) AS c, SUM({last}.n) AS s, "
            f"{'MATCH_ROWTIME(ts)' if rows in ('A B', 'A B{2}') else f'LAST({last}.ts)'} AS t"
        )
        within = _minutes(self._chance.choice((1, 5, 10, 60)))
        defines = ", ".join(f"{name} AS {said}" for name, said in defined.items())
        return (
            f"SELECT * FROM {source.sql} MATCH_RECOGNIZE (\n  PARTITION BY k ORDER BY {order}\n  MEASURES "
            f"{measures}\n  ONE ROW PER MATCH AFTER MATCH SKIP {skip}\n  PATTERN ({rows}) WITHIN {within}\n  "
            f"DEFINE {defines}) AS m"
        )

    # Joins

    def window_join(self) -> str:
        """Rows of one window of two sources."""
        left, right = self._source(), self._source()
        minutes = self._chance.choice((1, 5))
        one, other = (f"(SELECT * FROM {self._tumble(s, (minutes,))})" for s in (left, right))
        on = "l.k = r.k AND l.window_start = r.window_start AND l.window_end = r.window_end"
        if self._chance.random() < 0.3:
            return (
                f"SELECT {self._side('l', left)}, l.window_start AS w\nFROM {one} AS l\nWHERE "
                f"{self._one('', 'NOT ')}EXISTS (SELECT 1 FROM {other} AS r WHERE {on})"
            )
        also = self._also(left, right)
        columns = f"{self._side('l', left)}, {self._side('r', right)}, l.window_start AS lw, r.window_start AS rw"
        return f"SELECT {columns}\nFROM {one} AS l {self._join()} {other} AS r ON {on}{also}"

    def _also(self, left: Source, right: Source) -> str:
        both = left.columns.keys() & right.columns.keys()
        return self._one("", " AND l.n < r.n", " AND l.g = r.g" if "g" in both else "")

    def _join(self) -> str:
        return self._one("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN")

    def _side(self, name: str, source: Source) -> str:
        some = [c for c in ("id", "ts", "n", "d", "s", "c") if c in source.columns]
        return ", ".join(f"{name}.{c} AS {name}_{c}" for c in some)

    def interval_join(self) -> str:
        """Rows of two sources that are near each other."""
        left, right = self._source(), self._source()
        low, high = sorted(self._chance.sample((-10, -5, -1, 0, 1, 5), 2))
        also = self._also(left, right)
        near = f"l.ts BETWEEN r.ts + {_minutes(low)} AND r.ts + {_minutes(high)}"
        return (
            f"SELECT {self._side('l', left)}, {self._side('r', right)}\nFROM {left.sql} AS l {self._join()} "
            f"{right.sql} AS r ON l.k = r.k AND {near}{also}"
        )

    def temporal_join(self) -> str:
        """The version of each event's time, held in state."""
        source = self._source()
        versions, columns = self._chance.choice(
            (("prices_versions", ("price", "note")), ("shops_versions", ("city", "size")))
        )
        own = ", ".join(f"e.{c}" for c in ("ts", "id", "k", "n") if c in source.columns)
        got = ", ".join(f"p.{c} AS v{c}" for c in columns)
        return (
            f"SELECT {own}, {got}\nFROM {source.sql} AS e {self._one('LEFT JOIN', 'JOIN')} {versions} FOR "
            f"SYSTEM_TIME AS OF e.{source.time} AS p ON e.k = p.k"
        )

    def looked_up(self) -> str:
        """The version of each event's time, held by the TaskManager."""
        source = self._chance.choice(
            [s for s in SOURCES if s.sql in ("orders", "recent", "counted")]
        )
        own = ", ".join(f"e.{c}" for c in ("ts", "id", "k", "n") if c in source.columns)
        if self._chance.random() < 0.4:
            return (
                f"SELECT {own}, a.price_price AS p, a.price_note AS o, a.shop_city AS c\nFROM {source.sql} AS e "
                f"LEFT JOIN LATERAL TABLE(around_at(e.ts, e.k, e.k)) AS a ON TRUE"
            )
        return (
            f"SELECT {own}, p.price, p.note AS o\nFROM {source.sql} AS e LEFT JOIN LATERAL TABLE(prices_at(e.ts, "
            f"e.k)) AS p ON TRUE"
        )

    def python(self) -> str:
        """Values that Python gives, by itself and within windows."""
        source = self._chance.choice(SOURCES[:3])
        if self._chance.random() < 0.5:
            number, text = self._value(source, "BIGINT", 1), self._value(source, "STRING", 1)
            return (
                f"SELECT ts, id, spelled({number}, {text}) AS a, doubled(i) AS v\nFROM {source.sql}"
            )
        inner = f"(SELECT ts, k, spelled(i, k) AS f, doubled(i) AS n FROM {source.sql})"
        return (
            f"SELECT window_start AS w, f, COUNT(*) AS c, SUM(n) AS s\nFROM {self._window(Source(inner, {}))}\n"
            "GROUP BY window_start, window_end, f"
        )


def _minutes(minutes: int) -> str:
    sign = "-" if minutes < 0 else ""  # inside of the quotes: an offset is a literal
    size = abs(minutes)
    unit, count = (
        ("DAY", size // 1440)
        if size and size % 1440 == 0
        else ("HOUR", size // 60)
        if (size and size % 60 == 0)
        else ("MINUTE", size)
    )
    return f"INTERVAL '{sign}{count}' {unit}"


def _named(names: list[str]) -> str:
    return "".join(f"{name}, " for name in names)


def _listed(*expressions: str) -> str:
    """A SELECT's list: columns by their names, everything else by a number."""
    found: dict[str, str] = {}
    for number, text in enumerate(expressions):
        is_column = text.isidentifier() and text != "TRUE"
        name = text if is_column else f"v{number}"
        found.setdefault(name, text if is_column else f"{text} AS {name}")
    return ", ".join(found.values())


_KINDS: dict[str, tuple[int, Callable[[Maker], str | Statement]]] = {
    "grouped": (6, Maker.grouped),
    "cascade": (2, Maker.cascade),
    "legacy": (2, Maker.legacy),
    "top": (3, Maker.top),
    "top groups": (2, Maker.top_groups),
    "de-duplicated": (1, Maker.deduplicated),
    "projection": (3, Maker.projection),
    "row": (1, Maker.row),
    "union": (1, Maker.union),
    "over": (3, Maker.over),
    "sessions": (3, Maker.sessions),
    "rows of sessions": (1, Maker.rows_of_sessions),
    "legacy sessions": (1, Maker.legacy_sessions),
    "over rows": (3, Maker.over_rows),
    "lag": (3, Maker.lag),
    "pattern": (3, Maker.pattern),
    "window join": (3, Maker.window_join),
    "interval join": (3, Maker.interval_join),
    "temporal join": (3, Maker.temporal_join),
    "look-up": (2, Maker.looked_up),
    "python": (1, Maker.python),
}


def statements(seed: int, count: int, *, has_sessions: bool) -> dict[str, Statement]:
    """Output → statement."""
    maker = Maker(random.Random(seed), has_sessions=has_sessions)
    return {f"s{number:02}": maker.statement() for number in range(count)}
