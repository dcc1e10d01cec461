"""HTTP of the controller: /metrics for Prometheus, /healthz for a supervisor. It reads, and changes nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

from replay.controller.health import Verdict
from replay.controller.service_log import logger
from replay.errors import RetryableError

_log = logger("endpoint")
_TEXT = ("Content-Type", "text/plain; charset=utf-8")


class Endpoint:
    """A server in a thread of its own, from `open` to `close`."""

    def __init__(
        self, address: str, port: int, registry: CollectorRegistry, verdict: Callable[[], Verdict]
    ) -> None:
        self._address, self._port = address, port
        self._app = application(registry, verdict)
        self._server: WSGIServer | None = None

    def open(self) -> None:
        """Listen, unless it does already; RetryableError when the port is in use, perhaps for a moment."""
        if self._server:
            return
        try:
            self._server = make_server(
                self._address,
                self._port,
                self._app,
                _Server6 if ":" in self._address else _Server,
                _Handler,
            )
        except OSError as e:
            raise RetryableError(
                f"no /metrics and /healthz: {self._address}:{self._port} cannot be listened on",
                expected="a free port",
                found=str(e),
                next="set controller.port in config.yaml to another one, or to null for none",
            ) from e
        threading.Thread(target=self._server.serve_forever, name="endpoint", daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens; empty: it does not."""
        if not self._server:
            return ""
        host = f"[{self._address}]" if ":" in self._address else self._address
        return f"http://{host}:{self._server.server_port}"

    def close(self) -> None:
        """Listen no more."""
        if server := self._server:
            self._server = None
            server.shutdown()
            server.server_close()


def application(registry: CollectorRegistry, verdict: Callable[[], Verdict]) -> WSGIApplication:
    """What is answered on which path."""
    metrics = make_wsgi_app(registry)

    def answer(environment: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environment["PATH_INFO"]
        if path == "/metrics":
            return cast(Iterable[bytes], metrics(environment, start))
        if path != "/healthz":
            start("404 Not Found", [_TEXT])
            return [b"here are /metrics and /healthz\n"]
        if environment["REQUEST_METHOD"] not in ("GET", "HEAD"):
            start("405 Method Not Allowed", [_TEXT, ("Allow", "GET, HEAD")])
            return [b"GET or HEAD\n"]
        found = verdict()
        start("200 OK" if found.ok else "503 Service Unavailable", [_TEXT])
        return [f"{found.text}\n".encode()]

    return answer


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Without the question to a name server of what this host is called, which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = (
            str(self.server_address[0]),
            int(self.server_address[1]),
        )
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, or that said nothing, is none of ours."""
        _log.debug("a request came to nothing", client=str(client_address), exc_info=True)


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = 10
    """Seconds for a request to come: who connects and says nothing holds a thread no longer."""

    def log_message(self, format: str, *args: Any) -> None:
        """A scrape every few seconds is not worth a line."""
