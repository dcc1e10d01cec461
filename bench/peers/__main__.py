"""`python -m bench.peers`: other engines at the same work on the same log, and what they wrote checked row by row.

On the stack of $KAPPA_HOME, over the log of `kappa load flights`. A peer that cannot run is a row that says why.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from bench.peers import kappa
from bench.peers.expected import ROOT, expected, repeats_of
from bench.peers.peer import Limits, Peer, drop_topics, install, run
from bench.peers.results import compare, failed, measured, remarks, shown, table
from bench.results import keep
from jobs.product.folder import Product, load_product
from replay.errors import KappaError
from replay.kafka import log
from replay.output import Output, print_rows
from replay.settings import Settings, load_settings

Turn = dict[str, Any]
RESULTS = ROOT / "bench" / "results" / "peers.json"
BATCH = ("live", "restart", "exactly once", "Iceberg", "event-time joins")
PEERS = (
    Peer("Python + DuckDB", "duckdb_batch", BATCH),
    Peer("Python + DuckDB, 2 processes", "duckdb_batch", BATCH, processes=2),
    Peer(
        "Spark Structured Streaming",
        "spark_streaming",
        (
            "watermarks per partition",
            "joins to a version as of event time",
            "several tables at one checkpoint",
        ),
    ),
    Peer(
        "Bytewax",
        "bytewax_windows",
        (
            "exactly once",
            "Iceberg",
            "watermarks per partition",
            "joins to a version as of event time",
        ),
    ),
    Peer(
        "Quix Streams",
        "quix_windows",
        (
            "exactly once into tables",
            "several tables at one checkpoint",
            "windows that close at the log's end",
        ),
    ),
    Peer(
        "Pathway",
        "pathway_tables",
        ("exactly once (needs a licence)", "Iceberg (needs a licence)", "bounded state"),
    ),
)


def main(arguments: list[str] | None = None) -> None:
    """Run everybody in turn, print a table, write the results as JSON."""
    every = {
        "kappa": None,
        **{f"{p.module}{'' if p.processes == 1 else f':{p.processes}'}": p for p in PEERS},
    }
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "peers", nargs="*", metavar="PEER", help=f"only these of {', '.join(every)}"
    )
    parser.add_argument(
        "--repeat", type=int, default=1, help="turns of all of them; the table has medians"
    )
    parser.add_argument("--timeout", type=float, default=1800, help="seconds that one run may take")
    parser.add_argument(
        "--memory-mb", type=int, default=12_000, help="memory that one run may take"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args(arguments)
    if unknown := set(args.peers) - set(every):
        parser.error(f"no peer {', '.join(sorted(unknown))}; there are {', '.join(every)}")

    settings, product = load_settings(), load_product(ROOT / "sql" / "flights")
    ends = log.end_offsets(settings, ["flights"])["flights"]
    events = sum(ends.values())
    want = expected(repeats_of(events), settings.home / "bench")
    limits, turns = Limits(args.timeout, args.memory_mb), []
    for turn in range(args.repeat):
        for name in args.peers or every:
            peer = every[name]
            of = (
                _peer(peer, settings, ends, limits, want)
                if peer
                else _kappa(settings, product, events, limits, want)
            )
            for row in of:
                turns.append(row)
                sys.stderr.write(json.dumps({"turn": turn, **row}, default=str) + "\n")
    rows = table(turns, {p.name: list(p.lacks) for p in PEERS} | kappa.LACKS)
    keep(args.results, rows, turns=args.repeat)
    print_rows(shown(rows), Output.text)
    sys.stdout.write("\n".join(remarks(rows)) + "\n")


def _peer(
    peer: Peer, settings: Settings, ends: dict[int, int], limits: Limits, want: pa.Table
) -> Iterator[Turn]:
    events = sum(ends.values())
    try:
        python, environment = install(peer)
        try:
            done = run(peer, python, environment, settings, ends, limits)
        finally:
            drop_topics(settings)
        compared = compare(want, done.rows)
    except Exception as e:  # noqa: BLE001 - whatever one peer brings, the others run
        yield failed(peer.name, events, _why(e))
        return
    yield measured(
        peer.name,
        events,
        compared,
        seconds=round(done.seconds, 2),
        cpu_seconds=round(done.cpu_seconds, 2),
        start_seconds=round(done.start_seconds, 2),
        start_cpu_seconds=round(done.start_cpu_seconds, 2),
        peak_memory_mb=done.peak_memory_mb,
    )


def _kappa(
    settings: Settings, product: Product, events: int, limits: Limits, want: pa.Table
) -> Iterator[Turn]:
    for name, rung in kappa.rungs(product).items():
        try:
            runner = kappa.runner(settings, product, limits.seconds)
            row = runner.run(rung)
            compared = None if runner.written is None else compare(want, runner.written)
        except Exception as e:  # noqa: BLE001 - as above
            yield failed(name, events, _why(e))
            continue
        yield measured(
            name,
            events,
            compared,
            **{k: row[k] for k in ("seconds", "cpu_seconds", "peak_memory_mb")},
        )


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if not isinstance(error, KappaError) else str(error)


if __name__ == "__main__":
    main()
