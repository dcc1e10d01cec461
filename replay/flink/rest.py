"""Flink, from outside: its REST API, and the checkpoints that it keeps."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import httpx

from replay import tls
from replay.core.observed import ENDED, FlinkDownError, Job
from replay.errors import RetryableError
from replay.parallel import THREADS, each
from replay.settings import Settings
from replay.storage import filesystem, storage_errors

NO_WATERMARK = -(2**63)
_LATE_DROPPED = ".numLateRecordsDropped"
_OFFSET = re.compile(r"\.topic\.(?P<topic>.+)\.partition\.(?P<partition>\d+)\.currentOffset$")
_CAUSE = re.compile(r"^(?:Caused by: )?([\w.$]+(?:Exception|Error)[\w.$]*: .*)$")


@dataclass(frozen=True)
class Slots:
    """Task slots of the cluster."""

    free: int
    total: int


class Flink:
    """One cluster; by default the session cluster."""

    def __init__(
        self, settings: Settings, client: httpx.Client | None = None, rest: str = ""
    ) -> None:
        self._settings = settings
        self._rest = rest or settings.flink.rest
        # A proxy of the environment must not come between us and the cluster.
        self._http = client or httpx.Client(
            base_url=self._rest,
            timeout=10,
            trust_env=False,
            verify=tls.nobody()
            if self._rest.startswith("http://")
            else tls.context(settings.flink.tls),
            limits=httpx.Limits(max_connections=2 * THREADS, max_keepalive_connections=THREADS),
        )

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def slots(self) -> Slots:
        """Free and all slots; FlinkDownError when the cluster does not answer."""
        overview = self._get("/overview") or {}
        return Slots(int(overview.get("slots-available", 0)), int(overview.get("slots-total", 0)))

    def memory(self) -> int:
        """Bytes of all TaskManagers' processes, as Flink limits them."""
        found = (self._get("/taskmanagers") or {}).get("taskmanagers", ())
        return sum(int(t["memoryConfiguration"]["totalProcessMemory"]) for t in found)

    def running(self, name: str) -> list[str]:
        """Ids of the jobs of this name that have not ended."""
        jobs = (self._get("/jobs/overview") or {}).get("jobs", ())
        return [j["jid"] for j in jobs if j["name"] == name and j["state"] not in ENDED]

    def not_ended(self, job_ids: Sequence[str]) -> tuple[str, ...]:
        """Those of some jobs that the cluster knows, and that may still run."""
        statuses = {j["id"]: j["status"] for j in (self._get("/jobs") or {}).get("jobs", ())}
        return tuple(i for i in job_ids if i in statuses and statuses[i] not in ENDED)

    def job(self, job_id: str) -> Job | None:
        """The job, or None if this cluster does not know it."""
        details = self._get(f"/jobs/{job_id}")
        if details is None:
            return None
        if details["state"] == "INITIALIZING":  # it has no JobMaster yet to answer more
            return Job(job_id, details["state"])
        checkpoints = self._get(f"/jobs/{job_id}/checkpoints") or {}
        completed = (checkpoints.get("latest") or {}).get("completed") or {}
        restarts = self._restarts(job_id)
        failing = details["state"] in {"FAILED", "FAILING", "RESTARTING"} or restarts > 0
        error, failed_at = self._error(job_id) if failing else ("", None)
        return Job(
            id=job_id,
            status=details["state"],
            checkpoint=int(completed.get("id", 0)),
            restarts=restarts,
            error=error,
            failed_at=failed_at,
        )

    def stalled_watermarks(self, job_id: str) -> tuple[str, ...]:
        """Running operators to which no watermark has come since the job was last started or restarted."""

        def stands(vertex: Mapping[str, Any]) -> bool:
            marks = self._get(f"/jobs/{job_id}/vertices/{vertex['id']}/watermarks") or ()
            return any(int(m["value"]) == NO_WATERMARK for m in marks)

        running = [v for v in self._vertices(job_id) if v["status"] != "FINISHED"]
        return tuple(
            v["name"]
            for v, standing in zip(running, each(stands, running), strict=True)
            if standing
        )

    def late_dropped(self, job_id: str) -> dict[str, int]:
        """Operator → records that it dropped because the watermark had passed them, since the job was (re)started.

        Only operators that did. The JobManager fetches metrics when it is asked for any, and answers with those that it
        has: see `metrics.fetcher.update-interval`.
        """

        def dropped(vertex: Mapping[str, Any]) -> list[Mapping[str, Any]]:
            path = f"/jobs/{job_id}/vertices/{vertex['id']}/subtasks/metrics"
            names = [m["id"] for m in self._get(path) or () if m["id"].endswith(_LATE_DROPPED)]
            return list(self._get(path, get=",".join(names), agg="sum") or ()) if names else []

        found: dict[str, int] = {}
        for metric in chain.from_iterable(each(dropped, self._vertices(job_id))):
            if count := int(float(metric["sum"])):
                operator = metric["id"].removesuffix(_LATE_DROPPED)
                found[operator] = found.get(operator, 0) + count
        return found

    def read_positions(self, job_id: str) -> dict[str, dict[int, int]]:
        """How far the sources have read, by their metrics: between checkpoints, for display only."""
        found: dict[str, dict[int, int]] = {}
        for vertex in (self._get(f"/jobs/{job_id}") or {}).get("vertices", ()):
            path = f"/jobs/{job_id}/vertices/{vertex['id']}/metrics"
            names = [m["id"] for m in self._get(path) or () if _OFFSET.search(m["id"])]
            for metric in (self._get(path, get=",".join(names)) or ()) if names else ():
                if match := _OFFSET.search(metric["id"]):
                    topic = found.setdefault(match["topic"], {})
                    partition = int(match["partition"])
                    topic[partition] = max(topic.get(partition, 0), int(float(metric["value"])) + 1)
        return found

    def cancel(self, job_id: str) -> None:
        """Ask for the end of a job; nothing when it is gone or has ended."""
        answer = self._request("PATCH", f"/jobs/{job_id}", mode="cancel")
        if answer.status_code not in (202, 404, 409):
            raise RetryableError(
                f"Flink did not cancel job {job_id}",
                expected="HTTP 202",
                found=f"HTTP {answer.status_code} {answer.text[:200]}",
                next="kappa logs jobmanager",
            )

    def _vertices(self, job_id: str) -> list[Mapping[str, Any]]:
        return list((self._get(f"/jobs/{job_id}") or {}).get("vertices", ()))

    def _restarts(self, job_id: str) -> int:
        metrics = self._get(f"/jobs/{job_id}/metrics", get="numRestarts") or ()
        return next((int(float(m["value"])) for m in metrics), 0)

    def _error(self, job_id: str) -> tuple[str, float | None]:
        """The root cause of the newest failure, and when it was."""
        answer = self._get(f"/jobs/{job_id}/exceptions") or {}
        entries = (answer.get("exceptionHistory") or {}).get("entries") or ()
        stack = entries[0].get("stacktrace") if entries else answer.get("root-exception")
        at = entries[0].get("timestamp") if entries else answer.get("timestamp")
        return root_cause(stack or ""), at / 1000 if at else None

    def _get(self, path: str, **params: str) -> Any:
        answer = self._request("GET", path, **params)
        if answer.status_code == 404:
            return None
        if answer.is_error:  # 503 while a JobManager starts, and whatever else is not an answer
            raise FlinkDownError(
                "Flink's JobManager is not ready",
                expected=f"HTTP 200 from {answer.request.url}",
                found=f"HTTP {answer.status_code} {answer.text[:200]}",
                next="kappa status",
            )
        return answer.json()

    def _request(self, method: str, path: str, **params: str) -> httpx.Response:
        try:
            return self._http.request(method, path, params=params)
        except httpx.HTTPError as e:
            raise FlinkDownError(
                "Flink's JobManager does not answer",
                expected=f"REST at {self._rest}",
                found=str(e) or type(e).__name__,
                next="kappa up  (or: kappa status)",
            ) from e


def root_cause(stack: str, lines: int = 3) -> str:
    """The first lines of the innermost exception of a Java (or Python) stack trace."""
    rows = [r.rstrip() for r in stack.strip().splitlines()]
    start = 0
    for i, row in enumerate(rows):
        if _CAUSE.match(row.strip()):
            start = i
    picked = [
        r.strip().removeprefix("Caused by: ")
        for r in rows[start:]
        if r.strip() and not r.lstrip().startswith(("at ", "... ", "File "))
    ]
    return " / ".join(picked[:lines])[:1000]


def retained_checkpoints(
    settings: Settings, folder: str, job_ids: tuple[str, ...]
) -> dict[int, str]:
    """Checkpoint id → URI of the whole checkpoints (those with `_metadata`) that these jobs left below a folder."""
    from pyarrow.fs import FileSelector  # here: few who ask Flink ask this

    system, root = filesystem(settings, folder)
    found: dict[int, str] = {}
    for job_id in job_ids:  # oldest first: of two with the same number, the later job's counts
        with storage_errors(f"{folder}/{job_id}"):
            entries = system.get_file_info(FileSelector(f"{root}/{job_id}", allow_not_found=True))
            numbered = [e for e in entries if e.base_name.removeprefix("chk-").isdigit()]
            wholes = system.get_file_info([f"{entry.path}/_metadata" for entry in numbered])
        for entry, metadata in zip(numbered, wholes, strict=True):
            if metadata.is_file:
                found[int(entry.base_name.removeprefix("chk-"))] = (
                    f"{folder.rstrip('/')}/{job_id}/{entry.base_name}"
                )
    return found
