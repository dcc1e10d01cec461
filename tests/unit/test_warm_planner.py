"""A question to a planner that ends meanwhile is asked once more, unless it had been taken."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from replay.flink import planner
from replay.settings import Settings
from tests.unit.warm_homes import warm_home

REQUEST = {"check": "sql/flights", "cwd": "/"}
ANSWER = b'{"ok": true}'
Turn = Callable[[socket.socket], None]


def closes(connection: socket.socket) -> None:
    """It ends with the connection in its queue."""


def reads_and_closes(connection: socket.socket) -> None:
    connection.recv(4096)


def takes_and_closes(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(planner.TAKEN)


def half_answers(connection: socket.socket) -> None:
    takes_and_closes(connection)
    connection.sendall(ANSWER[:5])


def answers(connection: socket.socket) -> None:
    assert json.loads(connection.recv(4096)) == REQUEST
    connection.sendall(planner.TAKEN + ANSWER + b"\n")


@pytest.fixture
def settings(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of a home with a short path, as a socket's must be."""
    return warm_home(tmp_path_factory.mktemp("w"), monkeypatch)


@contextmanager
def served(settings: Settings, turns: list[Turn]) -> Iterator[list[Turn]]:
    """A planner that does so at each connection; what it has done."""
    done: list[Turn] = []
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(planner._socket(settings, planner.environment(settings))))
    listening.listen()

    def serve() -> None:
        for turn in turns:
            with suppress(OSError), listening.accept()[0] as connection:
                done.append(turn)
                turn(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield done
    listening.shutdown(socket.SHUT_RDWR)
    thread.join(30)
    listening.close()


@pytest.mark.parametrize("first", [closes, reads_and_closes])
def test_who_has_not_taken_it_is_asked_again(settings: Settings, first: Turn) -> None:
    with served(settings, [first, answers]) as done:
        assert planner.answer(settings, REQUEST, 30) == ANSWER.decode() + "\n"
    assert done == [first, answers]


@pytest.mark.parametrize("only", [takes_and_closes, half_answers])
def test_what_was_taken_is_not_asked_again(settings: Settings, only: Turn) -> None:
    with served(settings, [only, answers]) as done:
        assert planner.answer(settings, REQUEST, 30) is None
        assert done == [only]


def test_it_is_asked_twice_at_most(settings: Settings) -> None:
    with served(settings, [closes, reads_and_closes, answers]) as done:
        assert planner.answer(settings, REQUEST, 30) is None
        assert done == [closes, reads_and_closes]
