"""The dashboard and the alert rules: they name only metrics and labels that a controller exports."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import yaml

from replay.controller.loop import Loop
from replay.store.store import Store
from tests.unit.control_platform import Clock, FakePlatform
from tests.unit.control_steps import begin
from tests.unit.promql import Named, expressions, named
from tests.unit.watched import Watched

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "kappa.json"
MANUAL = ROOT / "docs" / "operating.md"
OF_PROMETHEUS = frozenset({"instance", "job"})
"""Labels that it adds to what it scrapes."""
FILES = [pytest.param(ALERTS, id="alerts"), pytest.param(DASHBOARD, id="dashboard")]


@pytest.fixture(scope="module")
def exported() -> Iterator[dict[str, frozenset[str]]]:
    """Metric → labels, of a controller that has seen good days and bad ones."""
    clock, store = Clock(), Store("sqlite://")
    platform = FakePlatform(clock, rejected=0)
    watched = Watched(Loop(platform, store, clock, holder="me"), platform, clock)
    begin(watched.loop, platform)
    watched.rounds(30)

    def fail(*_: object) -> NoReturn:
        raise ZeroDivisionError

    platform.__dict__["job"], job = fail, platform.job
    watched.rounds(1)
    platform.__dict__["job"] = job
    watched.rounds(1)
    yield {name: frozenset(dict(labels)) for name, labels in watched.samples()}
    store.close()


def document(file: Path) -> object:
    return (
        yaml.safe_load(file.read_text()) if file.suffix == ".yaml" else json.loads(file.read_text())
    )


@pytest.mark.parametrize("file", FILES)
def test_every_metric_that_is_named_is_exported(
    file: Path, exported: dict[str, frozenset[str]]
) -> None:
    asked = list(expressions(document(file)))
    assert len(asked) > 10
    for expression in asked:
        found = named(expression)
        assert found.metrics, f"no metric in {expression}"
        assert found.metrics <= exported.keys(), expression
        known = frozenset().union(*(exported[m] for m in found.metrics), OF_PROMETHEUS)
        assert found.labels <= known, f"{expression}: {sorted(found.labels - known)}"


def test_every_metric_of_ours_is_shown_or_alerted_on(exported: dict[str, frozenset[str]]) -> None:
    asked = {
        m
        for file in (ALERTS, DASHBOARD)
        for e in expressions(document(file))
        for m in named(e).metrics
    }
    ours = {
        name
        for name in exported
        if name.startswith("kappa_") and not name.endswith(("_sum", "_count"))
    }
    assert ours - asked == {"kappa_published_checkpoint"}, "which is for looking, not for a panel"


def test_every_alert_says_how_bad_it_is_and_what_to_do_and_is_in_the_manual() -> None:
    rules = [
        rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
    ]
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"].keys() == {"summary", "description"}
        assert f"`{rule['alert']}`" in MANUAL.read_text(), rule["alert"]


def test_every_metric_of_ours_is_in_the_manual(exported: dict[str, frozenset[str]]) -> None:
    text = MANUAL.read_text()
    names = {
        re.sub(r"_(bucket|sum|count)$", "", name) for name in exported if name.startswith("kappa_")
    }
    assert {name for name in names if f"`{name}`" not in text and f"`{name}{{" not in text} == set()
    written = set(re.findall(r"`(kappa_\w+)[`{]", text))
    assert written - names == set(), "what is written of is exported"


def test_panels_of_the_dashboard_have_ids_and_places_of_their_own() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({p["id"] for p in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"].endswith("."), panel["title"]
            assert all(t["expr"] for t in panel["targets"])


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("absent(kappa_build_info)", Named(frozenset({"kappa_build_info"}), frozenset())),
        (
            'max by (product) (a{product=~"b|c", kind!="d"}) > 300',
            Named(frozenset({"a"}), frozenset({"product", "kind"})),
        ),
        (
            "histogram_quantile(0.99, sum by (le) (rate(a_bucket[15m])))",
            Named(frozenset({"a_bucket"}), frozenset({"le"})),
        ),
        ("a * on (x) group_left (y) b offset 5m and c", Named(frozenset("abc"), frozenset("xy"))),
        ("time() - max(a) > 1e3", Named(frozenset("a"), frozenset())),
        ("1 - a or b", Named(frozenset("ab"), frozenset())),
    ],
)
def test_what_an_expression_names(expression: str, expected: Named) -> None:
    assert named(expression) == expected


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool, of Debian's package prometheus"
)
def test_promtool_takes_the_rules_and_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{n}", "expr": e.replace("$product", ".*")}
        for n, e in enumerate(expressions(document(DASHBOARD)))
    ]
    panels = tmp_path / "panels.yaml"
    panels.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    for command in (
        ["check", "rules", str(ALERTS), str(panels)],
        ["test", "rules", str(ALERTS.with_name("alerts_test.yaml"))],
    ):
        done = subprocess.run(["promtool", *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
