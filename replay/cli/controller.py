"""What `kappa controller` does: the loop as a service, with a log, /metrics and /healthz, until a signal ends it."""

from __future__ import annotations

import signal
import threading
from contextlib import closing

import typer

from replay.controller import service_log
from replay.controller.endpoint import Endpoint
from replay.controller.health import Health
from replay.controller.loop import Loop
from replay.controller.metrics import Metrics
from replay.controller.pass_log import PassLog
from replay.controller.platform import Platform
from replay.controller.service import serve
from replay.controller.watching import Watchers
from replay.errors import KappaError, RetryableError
from replay.settings import Settings, load_settings
from replay.store.store import Store

PAUSE_SECONDS = 2.0
_log = service_log.logger("controller")


def controller() -> None:
    """Serve all products until SIGTERM or SIGINT."""
    service_log.configure()
    ended = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: ended.set())
    try:
        Controller(load_settings(), ended).run()
    except KappaError:  # for the person who started it
        raise
    except Exception:  # noqa: BLE001  in the form of the log, before its supervisor starts it again
        _log.exception("the controller failed")
        raise typer.Exit(1) from None


class Controller:
    """The service and all that tells of it."""

    def __init__(self, settings: Settings, ended: threading.Event) -> None:
        self._settings, self._ended = settings, ended
        self._log, self._metrics = PassLog(), Metrics()
        self._health = Health(settings.controller.stalled_seconds)
        where = settings.controller
        self._endpoint = (
            Endpoint(where.address, where.port, self._metrics.registry, self._health.verdict)
            if where.port is not None
            else None
        )

        self.serving = threading.Event()
        """Set once the first round begins."""

    @property
    def url(self) -> str:
        """Where it answers; empty: nowhere."""
        return self._endpoint.url if self._endpoint else ""

    def run(self) -> None:
        """Until it is told to end."""
        try:
            self._listen()
            if store := self._open_store():
                with closing(Platform(self._settings)) as platform:
                    platform.tell = self._health.part
                    limits = self._settings.controller
                    self._serve(
                        Loop(
                            platform, store, step_seconds=limits.step_seconds, checks=limits.checks
                        )
                    )
        finally:
            if self._endpoint:
                self._endpoint.close()

    def _open_store(self) -> Store | None:
        """The store, which may come up after us; None when it is time to end before that."""
        while True:
            try:
                return Store(self._settings.store)
            except RetryableError as e:
                self._log.part_failed("store", e)
                self._health.waits("opening the controller's store")
            if self._ended.wait(PAUSE_SECONDS):
                return None

    def _serve(self, loop: Loop) -> None:
        loop.watcher = Watchers(self._log, self._metrics, self._health)
        self._metrics.holding = lambda: loop.holding
        _log.info(
            "controller started",
            holder=loop.holder,
            metrics=f"{self.url}/metrics" if self.url else "",
        )
        self.serving.set()
        serve(loop, self._pause, workers=self._settings.controller.workers)
        _log.info("controller stopped", holder=loop.holder)

    def _pause(self) -> bool:
        self._listen()
        return self._ended.wait(PAUSE_SECONDS)

    def _listen(self) -> None:
        """Another controller of this home may have the port, and go: products are served meanwhile."""
        if self._endpoint is None:
            return
        try:
            self._endpoint.open()
            self._log.part_works("endpoint")
        except RetryableError as e:
            self._log.part_failed("endpoint", e)
