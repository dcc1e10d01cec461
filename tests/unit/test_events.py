"""Reasons of events: each is documented, and those of earlier stores still read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from replay.cli import past
from replay.core.events import Event, Reason
from replay.core.model import Attempt, Move, Release, State
from replay.output import Output
from replay.store.leases import Lease
from replay.store.store import Store
from tests.events_doc import DOC, text


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = Store(url, lambda: 1_000.0)
    yield opened
    opened.close()


@pytest.fixture
def lease(store: Store) -> Lease:
    held = store.acquire("flights", "me", 60.0)
    assert held
    return held


def test_the_page_is_that_of_the_reasons() -> None:
    assert DOC.read_text() == text(), "python -m tests.events_doc > docs/events.md"


def test_each_state_and_each_way_to_move_readers_has_a_reason_of_its_name() -> None:
    names = {state.value for state in State} | {Move.switch.value, Move.rollback.value}
    assert names <= {reason.value for reason in Reason}


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_one_word_and_has_one_sentence(reason: Reason) -> None:
    assert reason.value.replace("_", "").isalpha() and reason.value.islower()
    assert reason.sentence.endswith(".") and reason.sentence.count(". ") == 0


@pytest.mark.parametrize("reason", Reason)
def test_what_is_written_is_read(store: Store, lease: Lease, reason: Reason) -> None:
    event = Event("flights", 1.0, "r1-a1", reason, "why")
    store.note(lease, event)
    assert store.events("flights") == [event]


@pytest.mark.parametrize(
    ("stored", "detail", "expected"),
    [
        ("checks failed", "rows: 2", (Reason.checks_failed, "rows: 2")),
        ("not verified", "", (Reason.not_verified, "")),
        ("caught_up", "", (Reason.caught_up, "")),
        ("quarantined", "by a newer version", (Reason.unknown, "quarantined: by a newer version")),
        ("quarantined", "", (Reason.unknown, "quarantined")),
    ],
)
def test_what_other_versions_wrote_is_read(
    store: Store, url: str, stored: str, detail: str, expected: tuple[Reason, str]
) -> None:
    with sa.create_engine(url).begin() as c:
        c.execute(
            sa.text(
                "INSERT INTO events (product, at, attempt, what, detail) "
                "VALUES ('flights', 1, 'r1-a1', :what, :detail)"
            ),
            {"what": stored, "detail": detail},
        )
    (found,) = store.events("flights")
    assert (found.reason, found.detail) == expected


def test_programs_get_the_reason(
    store: Store,
    lease: Lease,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: object,
) -> None:
    store.add_release(lease, Release("flights", 1, "f", 0.0, {}))
    store.save(lease, Attempt("flights", 1, 1, 0.0, 1, ("job",)))
    store.note(lease, Event("flights", 1_001.0, "r1-a1", Reason.checks_failed, "rows: 2"))
    monkeypatch.setattr(past, "load_settings", lambda: settings)
    monkeypatch.setattr(past, "Store", lambda _: store)
    past.history("flights", Output.json)
    assert json.loads(capsys.readouterr().out)["events"] == [
        {"at": "1970-01-01 00:16:40", "attempt": "r1-a1", "reason": "built", "detail": ""},
        {
            "at": "1970-01-01 00:16:41",
            "attempt": "r1-a1",
            "reason": "checks_failed",
            "detail": "rows: 2",
        },
    ]
