"""The replay-safety check: what would make a replay differ from the live run, or grow without bound, is refused.

Pure: statements and Flink's own plan in, problems out. Two kinds of rules:

- rules of text name file and line: processing time, randomness, options that are the job's to set;
- rules of the plan (EXPLAIN with changelog modes) hold whatever the text looks like: one scan per topic, the
  watermark taken from the log's clock and pushed into the source, late rows filtered on that same rule before any
  window could drop them unseen, no update stream into an append-only table, no state without bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from jobs.product import Product, Role, Topic, seconds
from jobs.sql import Statement


@dataclass(frozen=True)
class Problem:
    """One refused construct, and what to write instead."""

    file: str
    line: int
    construct: str
    instead: str

    def as_dict(self) -> dict[str, str | int]:
        return asdict(self)


_LOG_CLOCK = ("the event's own time, or the record's timestamp: "
              "appended TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL")
_IDLE = "nothing: a slow partition would be taken for an idle one and its rows for late ones"
_WORDS = {
    **dict.fromkeys(
        ("PROCTIME", "CURRENT_TIMESTAMP", "CURRENT_DATE", "CURRENT_TIME", "CURRENT_ROW_TIMESTAMP", "CURRENT_WATERMARK",
         "LOCALTIME", "LOCALTIMESTAMP", "NOW"), _LOG_CLOCK),
    **dict.fromkeys(("RAND", "RAND_INTEGER", "UUID"), "a value derived from the record, such as a hash of its key"),
    "STATE_TTL": "a window or a temporal join, whose state is bounded in event time",
}
_OPTIONS = {
    "scan.watermark.idle-timeout": _IDLE,
    "scan.startup": "nothing: the job starts at offset zero",
    "scan.bounded": "role: reference in product.yaml, which fixes the end with the release",
    "scan.parallelism": "nothing: the job never gives a source more subtasks than the topic has partitions",
    "scan.watermark": "nothing: the job emits watermarks",
}
_SETTINGS = {
    "table.exec.state.ttl": "nothing: a time to live is wall-clock time, and a replay passes years in a minute",
    "table.exec.source.idle-timeout": _IDLE,
    "table.exec.mini-batch": "nothing: it flushes on wall-clock time",
    "table.local-time-zone": "time_zone in product.yaml",
    "execution.runtime-mode": "nothing: the job decides",
    "table.exec.async-lookup": "an event-time temporal join",
}


def check_text(product: Product, statements: Iterable[Statement]) -> Iterator[Problem]:
    """Rules that can name a line."""
    for statement in statements:
        yield from _words(statement)
        yield from _options(product, statement)
        yield from _time_of_events(product, statement)
    yaml = str(product.folder / "product.yaml")
    for name, function in product.settings.functions.items():
        if not function.deterministic:
            yield Problem(yaml, 0, f"function {name} is not declared deterministic",
                          "deterministic: true, once equal arguments give equal results in every run")
    for key in product.settings.flink:
        for refused, instead in _SETTINGS.items():
            if key.startswith(refused):
                yield Problem(yaml, 0, f"flink setting {key}", instead)


def _words(statement: Statement) -> Iterator[Problem]:
    words = statement.words
    for i, (token, word) in enumerate(zip(statement.tokens, words, strict=True)):
        following = words[i + 1 : i + 3]
        # A quoted name may be a column of that name; with a parenthesis behind it, it is the function all the same.
        named = token.text[0] not in "`'\"" or (token.text[0] == "`" and following[:1] == ("(",))
        if word in _WORDS and named:
            yield Problem(str(statement.file), token.line, word, _WORDS[word])
        elif word == "UNIX_TIMESTAMP" and following == ("(", ")"):
            yield Problem(str(statement.file), token.line, "UNIX_TIMESTAMP()", _LOG_CLOCK)


def _options(product: Product, statement: Statement) -> Iterator[Problem]:
    """A source's WITH holds its topic and nothing else; no other statement sets options."""
    if statement.verb == "SET":
        yield Problem(str(statement.file), statement.line, "SET", "flink: in product.yaml")
    for i, token in enumerate(statement.tokens):
        if token.text.startswith("'") and statement.words[i + 1 : i + 2] == ("=",):
            key = token.text.strip("'")
            if key != "topic" and _is_option(statement, i):
                instead = next((v for k, v in _OPTIONS.items() if key.startswith(k)), None)
                yield Problem(str(statement.file), token.line, f"option '{key}'",
                              instead or "nothing: addresses, formats and positions are bound by the job")
    if (table := statement.created_table) is not None and table not in product.settings.topics:
        yield Problem(str(statement.file), statement.line, f"table {table}",
                      "the name of a topic of product.yaml: " + ", ".join(product.settings.topics))


def _time_of_events(product: Product, statement: Statement) -> Iterator[Problem]:
    """The source of a topic that is read once learns the time of an event from the declared watermark."""
    rule = product.settings.topics.get(statement.created_table or "")
    if rule is None or not rule.once:
        return
    words = statement.words
    found = [i for i in range(len(words)) if words[i : i + 2] == ("WATERMARK", "FOR")]
    line = statement.tokens[found[0]].line if found else statement.line
    if not any(_is_the_time_itself(words[i + 2 : i + 6]) for i in found):
        construct = f"{statement.created_table} is read once, by another time than its own"
        yield Problem(str(statement.file), line, construct,
                      "WATERMARK FOR t AS t, with t the time of the event; the source adds the allowed lateness")


def _is_the_time_itself(behind_watermark_for: tuple[str, ...]) -> bool:
    match behind_watermark_for:
        case (time, "AS", watermark, ")" | ","):
            return time == watermark
    return False


def _is_option(statement: Statement, index: int) -> bool:
    before = statement.words[:index]
    return "WITH" in before or "OPTIONS" in before


# --- the plan ---------------------------------------------------------------------------------------------------

_NODE = re.compile(r"^([ :|]*[+:]- )?(\w+)\((.*)$")
_REUSE_ID = re.compile(r"\(reuse_id=\[(\d+)\]\)")
_REUSED = re.compile(r"reference_id=\[(\d+)\]")
_TABLE = re.compile(r"table=\[\[?\w+[., ]+default_database[., ]+(\w+)")


@dataclass(frozen=True)
class Node:
    """One operator of the optimised plan."""

    name: str
    text: str
    inputs: tuple[Node, ...]

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for node in self.inputs:
            yield from node.walk()


EXECUTION, PHYSICAL = "Optimized Execution Plan", "Optimized Physical Plan"


def parse_plan(explained: str, section: str = EXECUTION) -> tuple[Node, ...]:
    """The sinks of one section of EXPLAIN's text, shared parts resolved.

    The execution plan shows what runs once and is shared; the physical plan shows changelog modes.
    """
    body = re.split(r"^== .* ==$", explained.partition(f"== {section} ==")[2], maxsplit=1, flags=re.MULTILINE)[0]
    shared: dict[str, Node] = {}
    roots = []
    for block in re.split(r"\n\s*\n", body.strip()):
        lines = [line for line in block.splitlines() if _NODE.match(line)]
        if not lines:
            continue
        node = _tree(lines, shared)
        if match := _REUSE_ID.search(lines[0]):
            shared[match[1]] = node
        roots.append(node)
    return tuple(n for n in roots if n.name in ("Sink", "LegacySink"))


def _tree(lines: list[str], shared: dict[str, Node]) -> Node:
    depths = [len(m[1] or "") for line in lines if (m := _NODE.match(line))]

    def build(index: int) -> Node:
        match = _NODE.match(lines[index])
        assert match
        if match[2] == "Reused" and (reference := _REUSED.search(lines[index])) and reference[1] in shared:
            return shared[reference[1]]
        children, i = [], index + 1
        while i < len(lines) and depths[i] > depths[index]:
            if depths[i] == depths[index] + 3:
                children.append(build(i))
            i += 1
        node = Node(match[2], lines[index].strip(), tuple(children))
        if identity := _REUSE_ID.search(lines[index]):
            shared[identity[1]] = node
        return node

    return build(0)


def scanned_topic(node: Node) -> str | None:
    """The topic of a TableSourceScan, None for any other node."""
    if node.name != "TableSourceScan":
        return None
    match = _TABLE.search(node.text)
    return match[1] if match else None


def distinct(sinks: Iterable[Node]) -> tuple[Node, ...]:
    """Every operator of the job once: shared parts are one object."""
    seen: dict[int, Node] = {}
    for sink in sinks:
        for node in sink.walk():
            seen.setdefault(id(node), node)
    return tuple(seen.values())


def check_plan(product: Product, explained: str) -> Iterator[Problem]:
    """Rules of the plan; the file named is the one that holds the construct, as far as the plan tells."""
    sinks = parse_plan(explained)
    nodes = distinct(sinks)
    sources = str(product.sources_sql)
    if not sinks:
        yield Problem(str(product.folder), 0, "a plan without a sink", "one INSERT INTO per output")
    for topic, rule in product.settings.topics.items():
        scans = [n for n in nodes if scanned_topic(n) == topic]
        if not scans:
            yield Problem(sources, 0, f"topic {topic} is not read", "a use of it, or its removal from product.yaml")
        if len(scans) > 1:
            yield Problem(sources, 0, f"topic {topic} is read {len(scans)} times",
                          "one view that all outputs read, selecting the columns they all need")
        for scan in scans:
            yield from _check_watermark(topic, rule, scan, nodes, sources)
    for sink in parse_plan(explained, PHYSICAL):
        yield from _check_sink(product, sink)
    yield from _check_operators(product, nodes)


def _check_watermark(topic: str, rule: Topic, scan: Node, nodes: tuple[Node, ...], file: str) -> Iterator[Problem]:
    clock = r"(?:CAST\()*appended(?: AS [^)]*\(3\)(?: \*ROWTIME\*)?\))*"
    milliseconds = round(seconds(rule.allowed_lateness or "0s") * 1000)
    interval = rf"{milliseconds}:INTERVAL [A-Z ]+"
    expected = rf"watermark=\[-\({clock}, {interval}\)" if milliseconds else rf"watermark=\[{clock}\]"
    wanted = f"WATERMARK FOR … AS appended - INTERVAL …, the allowed_lateness of product.yaml ({rule.allowed_lateness})"
    if any(n.name == "WatermarkAssigner" for n in nodes if topic in {scanned_topic(m) for m in n.walk()}):
        yield Problem(file, 0, f"the watermark of {topic} is not taken inside the source, per partition",
                      "a watermark on the metadata column alone: " + wanted)
    elif rule.role is Role.reference or rule.once:
        if "watermark=[" not in scan.text:
            yield Problem(file, 0, f"{topic} has no watermark",
                          "WATERMARK FOR t AS t" if rule.once else "WATERMARK FOR appended AS appended")
    elif not re.search(expected, scan.text):
        yield Problem(file, 0, f"the watermark of {topic} is not the log's clock less the allowed lateness", wanted)
    if rule.role is not Role.reference and milliseconds and not (rule.key and not _held(scan, nodes)):
        # (A lookup leaves late versions out by itself.)
        late = re.compile(rf">= \(?(?:-\()?{clock}[,\- ]+{interval}")
        readers = [n for n in nodes if n.name == "Calc" and late.search(n.text) and scan in tuple(n.walk())]
        if not readers:
            yield Problem(file, 0, f"nothing sets the late records of {topic} apart: a window would drop them unseen",
                          "WHERE <event time> >= appended - INTERVAL … in a view, and the rest in rejects")


def _held(scan: Node, nodes: tuple[Node, ...]) -> bool:
    """Whether an operator with a watermark's view of time works on a topic: what is late, it drops or misplaces."""
    return any(scan in tuple(n.walk()) for n in nodes
               if re.match("Window|GlobalWindow|LocalWindow|TemporalJoin|Deduplicate|Rank|IntervalJoin", n.name))


def _check_sink(product: Product, sink: Node) -> Iterator[Problem]:
    match = _TABLE.search(sink.text)
    name = match[1] if match else "?"
    changes = re.search(r"changelogMode=\[([A-Z,]*)\]", sink.inputs[0].text if sink.inputs else "")
    if changes and changes[1] != "I":
        file = str(product.folder / f"{name}.sql")
        yield Problem(file, 0, f"an update stream ({changes[1]}) into append-only table {name}",
                      "a window: GROUP BY window_start, window_end, or a de-duplication in a window")


def _waited(product: Product, node: Node) -> bool:
    """Whether rows come to an operator when the watermark has passed them: from a window, or a topic read once."""
    topics = [product.settings.topics[topic] for n in node.walk() if (topic := scanned_topic(n)) is not None]
    return any(n.name.startswith("Window") for n in node.walk()) or all(topic.once for topic in topics)


_REFUSED_NODES = {
    "LookupJoin": "an event-time temporal join: JOIN … FOR SYSTEM_TIME AS OF <event time>",
    "GroupAggregate": "a window: its state is bounded in event time",
    "GlobalGroupAggregate": "a window: its state is bounded in event time",
    "Join": "an event-time temporal join or a window join: a regular join keeps every row for ever",
    "OverAggregate": "a window: an unbounded OVER keeps every row for ever",
    "ChangelogNormalize": "an append-only source and a versioned view: ROW_NUMBER() … ORDER BY <time> DESC = 1",
    "Limit": "a window Top-N: which rows are first depends on the run",
    "SortLimit": "a window Top-N",
    "Match": "windows: a pattern keeps partial matches for ever",
}


def _check_operators(product: Product, nodes: tuple[Node, ...]) -> Iterator[Problem]:
    events = {t for t, rule in product.settings.topics.items() if rule.role is Role.events}
    dimensions = {t for t, rule in product.settings.topics.items() if rule.role is Role.dimension}
    for node in nodes:
        where = str(product.folder)
        if node.name in _REFUSED_NODES:
            yield Problem(where, 0, node.name, _REFUSED_NODES[node.name])
        if "PROCTIME" in node.text.upper() and node.name != "Sink":
            yield Problem(where, 0, f"{node.name} in processing time", _LOG_CLOCK)
        if node.name in ("Deduplicate", "Rank") and events & {scanned_topic(n) or "" for n in node.walk()}:
            yield Problem(where, 0, f"{node.name} of events without a window",
                          "ROW_NUMBER() OVER (PARTITION BY window_start, window_end, … ) on a TUMBLE window")
        if node.name == "Deduplicate":
            below = tuple(node.walk())
            in_order = any(n.name.startswith("Window") for n in below)
            if dimensions & {scanned_topic(n) or "" for n in below} and not in_order:
                yield Problem(where, 0, "the latest version of records that are not in order of time",
                              "a de-duplication in a window of the version's time first")
        function = re.search(r"invocation=\[(\w+)_at\(", node.text) if node.name == "Correlate" else None
        if function and not _waited(product, node):
            lookups = product.settings.lookups
            looked_up = lookups[function[1]].values() if function[1] in lookups else (function[1],)
            for dimension in sorted(dimensions.intersection(looked_up)):
                yield Problem(where, 0, f"{function[1]}_at() of events that no window has held back",
                              "the lookup behind a window of the events, such as that of the de-duplication, at whose "
                              f"end {dimension} is there; or once: true for the events")
        if node.name in ("GlobalWindowAggregate", "WindowAggregate") and re.search(r"SESSION\(", node.text):
            yield Problem(where, 0, "a session window", "a tumbling or hopping window: a busy key's session never ends")
