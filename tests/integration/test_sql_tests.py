"""`kappa test` on the real planner: shipped tests pass, what is wrong is shown, and the fault of a test is its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from jobs.bindings import RECORDS
from replay.errors import KappaError
from replay.flink import planner, resolved
from replay.flink.local_runs import LocalRuns
from replay.releases.folders import read_product
from replay.settings import Settings
from replay.testing import model, run
from tests.integration.running import Kappa, RunningStack

ROOT = Path(__file__).parents[2]
ORDERS = ROOT / "tests" / "products" / "orders"
FLIGHTS = ROOT / "sql" / "flights"


@pytest.fixture(scope="module")
def settings(stack: RunningStack) -> Settings:
    return stack.settings


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """A copy of the product."""
    return Path(shutil.copytree(ORDERS, tmp_path / "orders"))


@pytest.mark.parametrize("folder", [FLIGHTS, ORDERS], ids=lambda folder: str(folder.name))
def test_the_tests_of_a_shipped_product_pass(
    stack: RunningStack, folder: Path, tmp_path: Path
) -> None:
    report = tmp_path / "junit.xml"
    done = Kappa(stack.layout.home)("test", str(folder), "--output", "json", "--junit", str(report))
    said = json.loads(done.stdout)
    assert {t["status"] for t in said["tests"]} == {"passed"}
    assert len(said["tests"]) == len(model.read(folder)) > 0
    [suite] = ElementTree.parse(report).getroot()
    assert (suite.attrib["tests"], suite.attrib["failures"], suite.attrib["errors"]) == (
        str(len(said["tests"])),
        "0",
        "0",
    )


WRONG = """\
wrong:
  given:
    orders:
      - {order_id: a, ordered_at: 2024-06-03T10:00:00, shop: north, cents: 1200}
      - {order_id: b, ordered_at: 2024-06-03T10:00:00, shop: south, cents: 5}
      - {payload: x}
  expect:
    order_rows:
      - {order_id: a, shop: north, cents: 1201}
      - {order_id: b}
      - {order_id: c}
new:
  given: {orders: [{order_id: a, ordered_at: 2024-06-03T10:00:00, shop: north, cents: 1200}]}
"""


def test_what_is_not_as_expected_is_shown_and_recorded(stack: RunningStack, orders: Path) -> None:
    kappa = Kappa(stack.layout.home)
    file = orders / "tests" / "wrong.yaml"
    file.write_text(WRONG)
    done = kappa("test", str(orders), "wrong", check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines()[:-1] == [
        f"failed   wrong  ({file})",
        "  order_rows: 1 as expected, 1 changed, 1 missing",
        "    ~ {order_id: a, shop: north}",
        "        cents: expected 1201, found 1200",
        "    - {order_id: c}",
        "  rejects: 1 unexpected",
        "    + {log_topic: orders, log_partition: 0, log_offset: 2, appended: 2024-06-03T10:00:00, "
        'reason: "undecodable: magic byte is 0x78, not 0x00", payload: hex:78}',
        f"failed   new  ({file})",
        f"  it expects nothing; to write what came: kappa test {orders} --record",
    ]
    assert kappa("test", str(orders), "wrong", "--record", check=False).returncode == 1
    assert file.read_text().startswith(WRONG)
    kappa("test", str(orders), "wrong", "--record-all")
    kappa("test", str(orders), "wrong")


def test_a_product_without_tests_says_how_to_write_one(stack: RunningStack, orders: Path) -> None:
    shutil.rmtree(orders / "tests")
    done = Kappa(stack.layout.home)("test", str(orders), check=False)
    assert done.returncode != 0
    assert "orders has no tests" in done.stderr + done.stdout
    assert f"write {orders}/tests/first.yaml" in done.stderr + done.stdout


def test_a_cold_process_gives_the_same(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    product = resolved.resolve(settings, read_product(ORDERS))
    cases = model.read(ORDERS)
    warm = run.run(settings, product, cases)
    monkeypatch.setenv(planner.SWITCH, "cold")
    assert run.run(settings, product, cases) == warm


def test_the_fault_of_a_run_is_its_own(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three tests are one job; the records of one of them are damaged, and so that job fails."""
    product = resolved.resolve(settings, read_product(ORDERS))
    cases = model.read(ORDERS)[:3]

    def damaged(self: LocalRuns, runs: list[Path], *, times: bool = False) -> list[str]:
        (runs[1] / RECORDS / "orders" / "0.avro").write_bytes(b"no Avro")
        return original(self, runs, times=times)

    original = LocalRuns.run
    monkeypatch.setattr(LocalRuns, "run", damaged)
    one, two, three = run.run(settings, product, cases)
    assert one.passed and three.passed
    assert "InvalidAvroMagicException" in two.error or "Not an Avro data file" in two.error


def test_a_run_that_does_not_end_is_ended(settings: Settings) -> None:
    product = resolved.resolve(settings, read_product(ORDERS))
    cases = model.read(ORDERS)[:2]
    assert {r.error for r in run.run(settings, product, cases, seconds=0.0)} == {
        "it did not end within 0 s"
    }
    assert all(r.passed for r in run.run(settings, product, cases))


def test_what_the_planner_refuses_is_not_run(stack: RunningStack, orders: Path) -> None:
    (orders / "order_rows.sql").write_text("SELECT PROCTIME() AS p FROM orders\n")
    done = Kappa(stack.layout.home)("test", str(orders), check=False)
    assert done.returncode != 0 and "cannot be deployed" in done.stderr + done.stdout
    with pytest.raises(KappaError):
        resolved.resolve(stack.settings, read_product(orders))
