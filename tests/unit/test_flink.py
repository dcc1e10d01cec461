"""Flink from outside, with REST replaced by a hand-written fake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from replay.core.observed import FlinkDownError, Job
from replay.flink.rest import Flink, Slots, retained_checkpoints, root_cause
from replay.settings import CatalogSettings, FlinkSettings, Settings

DISK_FULL = "java.io.IOException: the disk is full / more words"
STACK = """\
java.lang.Exception: Job failed
\tat org.apache.flink.X.y(X.java:1)
Caused by: org.apache.kafka.TimeoutError: middle
\tat a.B.c(B.java:2)
Caused by: java.io.IOException: the disk is full
more words
\tat a.B.d(B.java:3)
\t... 12 more
"""


VERTICES = [
    {"id": "v1", "name": "Source: flights[70] -> Calc[71]", "status": "RUNNING"},
    {"id": "v2", "name": "Source: airlines[79]", "status": "FINISHED"},
    {"id": "v3", "name": "Deduplicate[83]", "status": "FINISHED"},
]


def settings(home: Path) -> Settings:
    return Settings(
        home=home,
        kafka={},
        registry="http://registry",
        store="sqlite://",
        secrets=home / "secrets",
        flink=FlinkSettings(
            rest="http://127.0.0.1:23082", home=home / "flink", checkpoints="file:///ck"
        ),
        catalog=CatalogSettings(flink={}, pyiceberg={}),
    )


def flink(answers: dict[str, Any] | Callable[[httpx.Request], httpx.Response]) -> Flink:
    """A cluster that gives these answers by path, and 404 otherwise."""

    def answer(request: httpx.Request) -> httpx.Response:
        if callable(answers):
            return answers(request)
        found = answers.get(request.url.path)
        return (
            httpx.Response(404, json={"errors": ["not found"]})
            if found is None
            else httpx.Response(200, json=found)
        )

    client = httpx.Client(base_url="http://flink", transport=httpx.MockTransport(answer))
    return Flink(settings(Path("/home")), client)


def job_answers(
    state: str = "RUNNING", restarts: int = 0, completed: int | None = 7
) -> dict[str, Any]:
    return {
        "/jobs/j": {"jid": "j", "state": state, "vertices": VERTICES},
        "/jobs/j/checkpoints": {
            "latest": {"completed": {"id": completed} if completed else None, "restored": {"id": 3}}
        },
        "/jobs/j/metrics": [{"id": "numRestarts", "value": str(restarts)}],
        "/jobs/j/exceptions": {
            "root-exception": None,
            "exceptionHistory": {"entries": [{"stacktrace": STACK}]},
        },
    }


def test_jobs_that_may_still_run() -> None:
    statuses = {"a": "RUNNING", "b": "CANCELED", "c": "CANCELLING", "d": "RUNNING"}
    jobs = [{"id": i, "status": s} for i, s in statuses.items()]
    assert flink({"/jobs": {"jobs": jobs}}).not_ended(("a", "b", "c", "e")) == ("a", "c")
    assert flink({}).not_ended(("a",)) == ()


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        pytest.param(job_answers(), Job("j", "RUNNING", checkpoint=7), id="well"),
        pytest.param(job_answers(completed=None), Job("j", "RUNNING"), id="restored only"),
        pytest.param(job_answers(restarts=2), Job("j", "RUNNING", 2, 7, DISK_FULL), id="restarted"),
        pytest.param(job_answers("FAILED"), Job("j", "FAILED", 0, 7, DISK_FULL), id="failed"),
        pytest.param(
            {"/jobs/j": {"state": "INITIALIZING"}},
            Job("j", "INITIALIZING"),
            id="no job master to ask yet",
        ),
        pytest.param({}, None, id="unknown"),
    ],
)
def test_job(answers: dict[str, Any], expected: Job | None) -> None:
    assert flink(answers).job("j") == expected


def test_a_refused_connection_is_down_and_not_unknown() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Connection refused", request=request)

    with pytest.raises(FlinkDownError) as e:
        flink(refuse).job("j")
    assert str(e.value) == (
        "Flink's JobManager does not answer\n"
        "  expected: REST at http://127.0.0.1:23082\n"
        "  found:    Connection refused\n"
        "  next:     kappa up  (or: kappa status)"
    )


def test_a_jobmanager_that_is_starting_is_down_and_not_unknown() -> None:
    with pytest.raises(FlinkDownError, match="not ready"):
        flink(lambda _: httpx.Response(503, text="leader election")).job("j")


def test_slots() -> None:
    assert flink({"/overview": {"slots-available": 2, "slots-total": 4}}).slots() == Slots(2, 4)


@pytest.mark.parametrize("status", [202, 404, 409])
def test_cancelling_what_is_gone_is_fine(status: int) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(status, json={})

    flink(answer).cancel("j")
    assert (seen[0].method, str(seen[0].url)) == ("PATCH", "http://flink/jobs/j?mode=cancel")


def test_operators_without_a_watermark_are_found() -> None:
    watermarks = {
        "v1": [
            {"id": "0.currentInputWatermark", "value": "1421042400000"},
            {"id": "1.currentInputWatermark", "value": "-9223372036854775808"},
        ],
        "v2": [{"id": "0.currentInputWatermark", "value": "-9223372036854775808"}],
        "v3": [],
    }
    answers = job_answers() | {f"/jobs/j/vertices/{v}/watermarks": w for v, w in watermarks.items()}
    assert flink(answers).stalled_watermarks("j") == ("Source: flights[70] -> Calc[71]",)


def test_dropped_records_are_counted_by_operator() -> None:
    window, join = (
        "GlobalWindowAggregate[8].numLateRecordsDropped",
        "WindowJoin[9].numLateRecordsDropped",
    )
    listed = {
        "v1": [{"id": "Calc[7].numRecordsIn"}],
        "v3": [{"id": window}, {"id": join}, {"id": "numRecordsIn"}],
    }
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/jobs/j":
            return httpx.Response(200, json=job_answers()["/jobs/j"])
        if not request.url.params:
            return httpx.Response(200, json=listed.get(request.url.path.split("/")[4], []))
        asked.append((request.url.path, dict(request.url.params)))
        return httpx.Response(200, json=[{"id": window, "sum": 3.0}, {"id": join, "sum": 0.0}])

    assert flink(answer).late_dropped("j") == {"GlobalWindowAggregate[8]": 3}
    assert asked == [
        ("/jobs/j/vertices/v3/subtasks/metrics", {"get": f"{window},{join}", "agg": "sum"})
    ]


def test_read_positions_come_from_the_sources_metrics() -> None:
    metric = "1.Source__flights[1].KafkaSourceReader.topic.flights.partition.2.currentOffset"

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/jobs/j":
            return httpx.Response(200, json=job_answers()["/jobs/j"])
        value = (
            [{"id": metric, "value": "41"}]
            if request.url.params.get("get")
            else [{"id": metric}, {"id": "other"}]
        )
        return httpx.Response(200, json=value)

    assert flink(answer).read_positions("j") == {"flights": {2: 42}}


@pytest.mark.parametrize(
    ("stack", "cause"),
    [
        (STACK, DISK_FULL),
        ("", ""),
        (
            'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: no key',
            "ValueError: no key",
        ),
        ("something without a shape", "something without a shape"),
    ],
)
def test_root_cause(stack: str, cause: str) -> None:
    assert root_cause(stack) == cause


def test_only_whole_checkpoints_of_the_attempts_jobs_are_kept(tmp_path: Path) -> None:
    for path in (
        "a/chk-3/_metadata",
        "a/chk-4/_metadata",
        "b/chk-4/_metadata",
        "b/chk-5/part",
        "c/chk-9/_metadata",
        "b/shared/x",
        "b/chk-x/_metadata",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    root = tmp_path.as_uri()
    assert retained_checkpoints(settings(tmp_path), root, ("a", "b")) == {
        3: f"{root}/a/chk-3",
        4: f"{root}/b/chk-4",
    }
    assert retained_checkpoints(settings(tmp_path), f"{root}/missing", ("a",)) == {}


def test_memory_is_that_of_all_taskmanagers() -> None:
    two = [{"memoryConfiguration": {"totalProcessMemory": n}} for n in (3, 4)]
    assert flink({"/taskmanagers": {"taskmanagers": two}}).memory() == 7
