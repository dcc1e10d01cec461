"""A REST catalog that lends each table keys of its own: a proxy in front of another catalog, which lends none."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

DELEGATION = "X-Iceberg-Access-Delegation"
_KEPT = ("authorization", "content-type")
_LOAN = "metadata-location"
"""What answers have that load or create a table."""


@dataclass
class Vending:
    """What is lent to whom."""

    catalog: str
    """The address of the catalog behind it."""
    keys: Callable[[str], Mapping[str, str]]
    """Properties that a table, by its name, is lent."""
    in_config: bool = False
    """Whether they are in `config`, as older catalogs have them, or in `storage-credentials`."""
    asked: list[str] = field(default_factory=list)
    """Names of tables that keys were lent for."""
    address: str = ""


@contextmanager
def vending(catalog: str, keys: Callable[[str], Mapping[str, str]]) -> Iterator[Vending]:
    """The proxy, on loopback while the block runs."""
    made = Vending(catalog, keys)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(made))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    made.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(of: Vending) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            answer = httpx.request(
                self.command,
                of.catalog + self.path,
                content=self.rfile.read(length),
                headers={k: v for k, v in self.headers.items() if k.lower() in _KEPT},
                timeout=60,
                trust_env=False,
            )
            content = answer.content
            loads = self.command == "GET" or self.path.endswith("/tables")
            delegates = self.headers.get(DELEGATION) == "vended-credentials"
            if answer.is_success and loads and delegates:
                try:
                    content = _with_loan(of, content)
                except ConnectionError:  # of a test: the answer is lost
                    self.close_connection = True
                    return
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_POST = do_DELETE = do_HEAD = _pass_on

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler


def _with_loan(of: Vending, content: bytes) -> bytes:
    try:
        said = json.loads(content)
    except ValueError:
        return content
    if not isinstance(said, dict) or not said.get(_LOAN):
        return content
    folder = said["metadata"]["location"]
    name = folder.rstrip("/").rpartition("/")[2]
    of.asked.append(name)
    lent = dict(of.keys(name))
    if of.in_config:
        said["config"] = {**(said.get("config") or {}), **lent}
    else:
        wrong = {**lent, "s3.access-key-id": "of-another-folder"}
        said["storage-credentials"] = [
            {"prefix": folder.rpartition("/")[0], "config": wrong},
            {"prefix": folder, "config": lent},
        ]
    return json.dumps(said).encode()
