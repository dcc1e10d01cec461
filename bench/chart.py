"""`python -m bench.chart [RESULTS]`: a ladder's results as a chart beside them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results" / "latest.json"


def main(results: Path = RESULTS) -> None:
    """Events a second and events a CPU second of every rung, as NAME.png beside NAME.json."""
    document = json.loads(results.read_text())
    rows = list(reversed(document["rows"]))
    figure = Figure(figsize=(9, 0.5 * len(rows) + 1.4), layout="constrained")
    axes = figure.subplots()
    for shift, key, label in (
        (0.2, "events_per_second", "events/s"),
        (-0.2, "events_per_cpu_second", "per CPU s"),
    ):
        bars = axes.barh(
            [i + shift for i in range(len(rows))],
            [row[key] for row in rows],
            height=0.38,
            label=label,
        )
        axes.bar_label(bars, labels=[f"{row[key]:,}" for row in rows], padding=3, fontsize=8)
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes.margins(x=0.15)
    machine = document["machine"]
    axes.set_title(
        f"{rows[0]['events']:,} records, parallelism {document['parallelism']}, {machine['cpus']} CPUs, "
        f"{document['measured'][:10]}",
        fontsize=10,
    )
    axes.legend(loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(results.with_suffix(".png"), dpi=120)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
