"""A planner that stays warm: `python -m jobs.check_server SOCKET`. It answers what `python -m jobs.check` does, runs a
product over records in files as `python -m jobs.local_run` does, and submits the jobs of releases.

Starting a JVM and loading Flink's planner takes most of the time of a check, and a JVM plans its second product in a
fraction of the time of the first. So one process keeps a JVM, and forks for each request: what a request imports, sets
or breaks in Python goes with its fork. The socket is its owner's alone, and so is the JVM: on its port on loopback it
does nothing for whoever does not know py4j's token.

It ends when nobody has asked for a while, when its socket is gone, and when its JVM has ended.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import socketserver
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import SO_PEERCRED, SOL_SOCKET, socket
from typing import Any

from py4j.finalizer import ThreadSafeFinalizer
from py4j.java_gateway import GatewayParameters, JavaGateway
from py4j.protocol import Py4JError
from pyflink import java_gateway
from pyflink.pyflink_gateway_server import launch_gateway_server_process
from pyflink.util.exceptions import install_exception_handler, install_py4j_hooks

import jobs.planner.resolve  # noqa: F401  loaded once, for all forks
from jobs.check import check
from jobs.local_run import Request, local_run
from jobs.processes import restart_with_environment
from jobs.warm_submit import submit

IDLE_SECONDS = 900.0
"""After so long without a request it ends, and gives its memory back."""
LOOK_SECONDS = 0.5
ASKING_SECONDS = 10
"""In which a client says what it wants, and takes the answer."""
TAKEN = b"taken\n"
"""Said at once to whoever asks: further requests wait, and a server that was stopped says nothing."""
GO = b"go\n"
"""Said by who wants a submission: who has given up waiting for `TAKEN` submits in another way."""
ENDING_SECONDS = 5.0
"""In which a request that was given up puts away what it began."""
AT_ONCE = 2
"""Requests; further ones wait."""
_GATEWAY = "org.apache.flink.api.python.shaded.py4j.GatewayServer"
_JVM_ARGS = "-Xmx1g -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+ExitOnOutOfMemoryError"


class Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    """Requests of one JSON line, answered by one after `TAKEN`; none if the JVM has failed. They are:

        {"check": FOLDER, "cwd": …}                                 about a product's folder, as seen from there
        {"run": {"release": …, "runs": …, "seconds": …}}            over records in files: see `local_run.Request`
        {"submit": {"release": …, "bindings": …, "options": …}}     the job of a release, to a cluster

    A submission begins when its client has sent `GO` after `TAKEN`, and ends although nobody waits for it."""

    max_children = AT_ONCE
    request_queue_size = 64

    def __init__(self, path: Path, jvm: subprocess.Popen[bytes], idle_seconds: float) -> None:
        self._path, self._jvm, self._idle_seconds = path, jvm, idle_seconds
        self._asked = time.monotonic()
        super().__init__(str(path), Handler)
        self._own = path.stat().st_ino

    def listens_at(self, path: Path) -> None:
        """Rename its socket."""
        self._path = self._path.rename(path)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        self._asked = time.monotonic()
        _, uid, _ = struct.unpack("3i", request.getsockopt(SOL_SOCKET, SO_PEERCRED, 12))
        return bool(uid == os.getuid())

    def service_actions(self) -> None:
        super().service_actions()
        if self.active_children:
            self._asked = time.monotonic()
        if self._over():
            threading.Thread(target=self.shutdown, daemon=True).start()

    def _over(self) -> bool:
        try:
            replaced = self._path.stat().st_ino != self._own
        except OSError:
            replaced = True
        idle = time.monotonic() - self._asked > self._idle_seconds
        return replaced or idle or self._jvm.poll() is not None


class Handler(socketserver.StreamRequestHandler):
    """One request, in a process of its own."""

    request: socket

    def handle(self) -> None:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.request.settimeout(ASKING_SECONDS)
        line = self.rfile.readline()
        self.wfile.write(TAKEN)
        request = json.loads(line)
        if "submit" in request:
            if self.rfile.readline() != GO:
                return
        else:
            threading.Thread(target=self._end_with_client, daemon=True).start()
        self.request.settimeout(None)
        with _own_connections() as gateway:
            answer = _answer(request)
            gateway.jvm.System.nanoTime()  # what was made of a JVM that is gone is no answer
        signal.alarm(ASKING_SECONDS)  # a client that was stopped reads nothing
        self.wfile.write(json.dumps(answer).encode() + b"\n")
        if answer.get("stuck"):
            self.wfile.flush()
            end_now(gateway)

    def _end_with_client(self) -> None:
        """Nobody wants the answer any more: end as by Ctrl-C, so that what was begun is put away; then by force."""
        with suppress(OSError):
            while self.request.recv(1024):
                pass
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(ENDING_SECONDS)
        os.killpg(0, signal.SIGKILL)


def _answer(request: Mapping[str, Any]) -> dict[str, Any]:
    if what := request.get("submit"):
        return submit(Path(what["release"]), Path(what["bindings"]), what["options"])
    if what := request.get("run"):
        return local_run(Request.model_validate(what))
    os.chdir(request["cwd"])
    return check(Path(request["check"]))


def end_now(gateway: JavaGateway) -> None:
    """End the JVM, in which something goes on that cannot be ended; the server follows it, and the next starts anew."""
    with suppress(Py4JError):  # it is gone before it has answered
        gateway.jvm.Runtime.getRuntime().halt(1)


@contextmanager
def _own_connections() -> Iterator[JavaGateway]:
    """The gateway for a fork: its connections are its own, and the JVM forgets its objects at the end."""
    gateway = java_gateway.get_gateway()
    client = gateway._gateway_client
    # Kept to the end: a connection that is collected says good-bye, and it is that of the process that was forked.
    inherited, client.deque = client.deque, deque()
    before = set(ThreadSafeFinalizer.finalizers)
    gc.freeze()
    try:
        yield gateway
    finally:
        prefix = f"{client.address}{client.port}"
        for key in set(ThreadSafeFinalizer.finalizers) - before:
            client.garbage_collect_object(key.removeprefix(prefix))
        inherited.clear()


def start_jvm() -> subprocess.Popen[bytes]:
    """A JVM with Flink's planner, to which PyFlink in this process is connected, and nobody else can."""
    reading, writing = os.pipe()
    stdout = os.dup(1)
    os.dup2(writing, 1)
    try:
        jvm: subprocess.Popen[bytes] = launch_gateway_server_process(
            {**os.environ, "JVM_ARGS": f"{_JVM_ARGS} {_scratch()}"},
            ["-c", _GATEWAY, "local", "--enable-auth", "--die-on-broken-pipe", "0"],
        )
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
        os.close(writing)
    with os.fdopen(reading) as said:
        port, token = int(said.readline()), said.readline().strip()
    gateway = JavaGateway(
        gateway_parameters=GatewayParameters(port=port, auto_convert=True, auth_token=token)
    )
    java_gateway.import_flink_view(gateway)
    install_exception_handler()
    install_py4j_hooks()
    java_gateway._gateway = gateway
    return jvm


def _scratch() -> str:
    """Have it write into the home, where `kappa up` removes what a killed JVM leaves."""
    folder = Path(os.environ["KAPPA_HOME"]) / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    return f"-Djava.io.tmpdir={folder}"


def end_jvm(jvm: subprocess.Popen[bytes]) -> None:
    """End it as it wants to be ended: only so does it remove the 40 MB of Flink's planner that it has unpacked."""
    assert jvm.stdin
    jvm.stdin.close()
    try:
        jvm.wait(ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        jvm.kill()
        jvm.wait()


def main(arguments: list[str] | None = None) -> int:
    """Serve until it is over."""
    parser = argparse.ArgumentParser(prog="python -m jobs.check_server", description=__doc__)
    parser.add_argument("socket", type=Path)
    parser.add_argument("--idle-seconds", type=float, default=IDLE_SECONDS)
    args = parser.parse_args(arguments)
    os.umask(0o077)
    jvm = start_jvm()
    threading.Thread(target=_pass_on, args=(jvm.stderr,), daemon=True).start()
    try:
        # Under another name until it listens: whoever finds the socket is answered.
        unready = args.socket.with_suffix(f".{os.getpid()}")
        with Server(unready, jvm, args.idle_seconds) as server:
            server.listens_at(args.socket)
            server.serve_forever(LOOK_SECONDS)
    finally:
        end_jvm(jvm)
    return 0


def _pass_on(stream: Any) -> None:
    """What the JVM says, to standard error: a pipe that nobody reads would stop it."""
    while said := os.read(stream.fileno(), 65_536):
        os.write(2, said)


if __name__ == "__main__":
    restart_with_environment(["-P", "-m", "jobs.check_server", *sys.argv[1:]])
    sys.exit(main())
