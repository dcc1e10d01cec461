"""`kappa controller` as a whole, without a stack: it serves no product, and says how it is."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator

import httpx
import pytest

from replay.cli.controller import Controller
from replay.settings import ControllerSettings, Settings
from tests.unit.log_lines import texts


@pytest.fixture
def started(
    settings: Settings, log_to: Callable[..., io.StringIO]
) -> Iterator[tuple[Controller, io.StringIO]]:
    written = log_to()
    ended = threading.Event()
    running = Controller(
        settings.model_copy(update={"controller": ControllerSettings(port=0)}), ended
    )
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        assert running.serving.wait(30), written.getvalue()
        yield running, written
    finally:
        ended.set()
        thread.join()
    assert "controller stopped" in written.getvalue()


def test_a_controller_tells_where_it_answers_and_does(
    started: tuple[Controller, io.StringIO],
) -> None:
    controller, written = started
    url = controller.url
    assert texts(written)[0].startswith("info    controller started  holder=")
    assert texts(written)[0].endswith(f"metrics={url}/metrics")
    assert httpx.get(f"{url}/healthz", trust_env=False).text == "ok\n"
    assert "kappa_store_up 1.0" in httpx.get(f"{url}/metrics", trust_env=False).text


def test_without_a_port_it_listens_on_none(
    settings: Settings, log_to: Callable[..., io.StringIO]
) -> None:
    written = log_to()
    ended = threading.Event()
    ended.set()
    controller = Controller(
        settings.model_copy(update={"controller": ControllerSettings(port=None)}), ended
    )
    controller.run()
    assert controller.url == ""
    assert "metrics=" not in written.getvalue()
