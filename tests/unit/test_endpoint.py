"""/metrics and /healthz, asked over HTTP."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from replay.controller.endpoint import Endpoint
from replay.controller.health import Health
from replay.controller.metrics import Metrics
from replay.core.model import Attempt
from replay.core.steps import Submit
from replay.errors import RetryableError
from tests.unit.control_platform import Clock


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(60.0, clock)


@pytest.fixture
def metrics(clock: Clock) -> Metrics:
    return Metrics(clock)


@pytest.fixture
def endpoint(health: Health, metrics: Metrics) -> Iterator[Endpoint]:
    with closing(Endpoint("127.0.0.1", 0, metrics.registry, health.verdict)) as opened:
        opened.open()
        yield opened


def get(endpoint: Endpoint, path: str, method: str = "GET") -> httpx.Response:
    return httpx.request(method, endpoint.url + path, trust_env=False, timeout=10)


def test_metrics_are_in_the_format_of_prometheus(endpoint: Endpoint, metrics: Metrics) -> None:
    metrics.listed(["orders"])
    metrics.rounded(0.25)
    answer = get(endpoint, "/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    samples = {
        s.name: s for family in text_string_to_metric_families(answer.text) for s in family.samples
    }
    assert samples["kappa_round_duration_seconds"].value == 0.25
    assert samples["kappa_last_round_timestamp_seconds"].value == 1_000.0
    assert samples["kappa_store_up"].value == 1
    assert samples["kappa_build_info"].labels.keys() == {"version", "python"}
    assert "process_resident_memory_bytes" in samples


def test_a_loop_that_goes_round_is_healthy_and_one_that_does_not_says_why(
    endpoint: Endpoint, health: Health, clock: Clock
) -> None:
    assert (get(endpoint, "/healthz").status_code, get(endpoint, "/healthz").text) == (200, "ok\n")
    health.begins("orders")
    health.begins_step("orders", Submit(Attempt("orders", 2, 1, 0.0, 1, ("job",))))
    clock.time += 61
    answer = get(endpoint, "/healthz")
    assert answer.status_code == 503
    assert answer.text == (
        "nothing was finished for 61 s, more than controller.stalled_seconds (60 s); at work on: "
        "orders: submit r2-a1; see: kappa logs controller\n"
    )
    health.rounded(61.0)
    assert get(endpoint, "/healthz").status_code == 503, "rounds go on without a pass that hangs"
    health.failed("orders", TimeoutError(), 61.0)
    assert get(endpoint, "/healthz").status_code == 200


def test_a_product_that_hangs_is_no_reason_to_restart_a_controller_that_serves_others(
    health: Health, clock: Clock
) -> None:
    health.begins("orders")
    for _ in range(30):
        clock.time += 10
        health.begins("sales")
        health.failed("sales", TimeoutError(), 1.0)
        health.rounded(2.0)
    assert health.verdict().ok


def test_a_controller_without_products_is_healthy(health: Health, clock: Clock) -> None:
    for _ in range(30):
        clock.time += 10
        health.listed([])
        health.rounded(0.0)
    assert health.verdict().ok


def test_a_store_that_does_not_come_up_is_named(health: Health, clock: Clock) -> None:
    health.waits("opening the controller's store")
    assert health.verdict().ok
    clock.time += 61
    assert "at work on: opening the controller's store" in health.verdict().text


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/", "GET", 404),
        ("/metrics/../../etc/passwd", "GET", 404),
        ("/healthz", "POST", 405),
        ("/metrics", "POST", 405),
        ("/healthz", "HEAD", 200),
    ],
)
def test_there_is_nothing_else_and_nothing_to_change(
    endpoint: Endpoint, path: str, method: str, status: int
) -> None:
    assert get(endpoint, path, method).status_code == status


def test_it_listens_on_loopback_alone(endpoint: Endpoint) -> None:
    assert endpoint.url.startswith("http://127.0.0.1:")
    assert endpoint._server is not None
    assert endpoint._server.socket.getsockname()[0] == "127.0.0.1"


def test_a_port_that_is_taken_is_listened_on_once_it_is_free(
    health: Health, metrics: Metrics
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        endpoint = Endpoint("127.0.0.1", port, metrics.registry, health.verdict)
        with pytest.raises(
            RetryableError,
            match=rf"no /metrics and /healthz: 127\.0\.0\.1:{port} cannot be listened",
        ):
            endpoint.open()
        assert endpoint.url == ""
    with closing(endpoint):
        endpoint.open()
        endpoint.open()
        assert get(endpoint, "/healthz").status_code == 200
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False)


def test_who_connects_and_goes_away_leaves_the_others_their_answer(endpoint: Endpoint) -> None:
    port = int(endpoint.url.rpartition(":")[2])
    for said in (b"", b"GET /metrics HTTP/1.1\r\nHo", b"nonsense\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(said)
    assert get(endpoint, "/healthz").status_code == 200
