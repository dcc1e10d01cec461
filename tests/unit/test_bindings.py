"""What a job is told of its topics."""

from __future__ import annotations

from pathlib import Path

from jobs.bindings import Bindings, Catalog, source_options
from jobs.product.folder import load_product


def test_every_topic_is_read_by_the_connector_that_keeps_the_clock() -> None:
    flights = load_product(Path(__file__).parents[2] / "sql" / "flights")
    bindings = Bindings(
        attempt="a",
        branch="b",
        group="g",
        kafka={},
        registry="r",
        namespace="n",
        parallelism=1,
        catalog=Catalog(name="c", options={}),
        checkpoint_interval="1s",
        checkpoint_dir="d",
        broker_time=("weather", "planes"),
    )
    keys = ("connector", "allowed-lateness", "broker-time", "scan.bounded.mode", "once")
    found = {
        topic: tuple(source_options(topic, flights, bindings).get(key) for key in keys)
        for topic in ("flights", "weather", "planes")
    }
    assert found == {
        "flights": (
            "kappa-log",
            "21600000 ms",
            None,
            None,
            "carrier;flight;origin;flight_date;sched_dep_time",
        ),
        "weather": ("kappa-log", "3600000 ms", "true", None, None),
        "planes": ("kappa-log", "0s", None, "latest-offset", None),
    }
    in_step = flights.model_copy(
        update={"settings": flights.settings.model_copy(update={"max_drift": "30d"})}
    )
    drift = {
        topic: source_options(topic, in_step, bindings).get("scan.watermark.alignment.max-drift")
        for topic in ("flights", "weather", "planes")
    }
    assert drift == {"flights": "2592000 s", "weather": "2592000 s", "planes": None}
