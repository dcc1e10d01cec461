"""What `kappa maintain` does, apart from its arguments."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Collection

from replay.controller.platform import Platform, fetch_bindings
from replay.core.model import Attempt
from replay.errors import KappaError, RetryableError, not_deployed
from replay.flink.rest import Flink
from replay.flink.submit import judge, maintain_command, submit_env
from replay.iceberg import lake, maintenance
from replay.iceberg.maintenance import Compacted
from replay.output import Output, View, rows_table, show, waiting
from replay.settings import Settings, load_settings
from replay.store.store import Store

LONGEST_SECONDS = 900.0
"""How long a run is waited for. It works on a limited number of bytes, and takes some minutes at most."""


def maintain(name: str, target_file_size: str, dry_run: bool, output: Output) -> None:
    """Compact the branch of what readers see, and print each table before and after.

    What was done is read from the tables, not from what the job says: Iceberg's maintenance only logs what went wrong.
    """
    settings, target = load_settings(), maintenance.size_in_bytes(target_file_size)
    platform = Platform(settings)
    state = Store(settings.store).load(name)
    attempt = state.active
    if attempt is None:
        raise not_deployed(name, found="no attempt that readers see")
    outputs = platform.product(attempt, state).outputs
    begun = time.monotonic()
    was = lake.load_tables(platform.catalog, name, outputs)
    before = maintenance.sizes(was, attempt.name)
    small = {table: maintenance.too_small(sizes, target) for table, sizes in before.items()}
    wanted = [table for table, files in small.items() if files]
    said = ""
    if wanted and not dry_run:
        with waiting(f"compacting {', '.join(wanted)} on Flink's session cluster"):
            said = run(settings, attempt, wanted, target)
    now = lake.load_tables(platform.catalog, name, before)
    after = maintenance.sizes(now, attempt.name)
    compacted = [
        Compacted(
            t,
            before[t],
            after.get(t, {}),
            small[t],
            maintenance.written(was[t], now[t], attempt.name),
        )
        for t in before
    ]
    data = {
        "product": name,
        "attempt": attempt.name,
        "target_file_size": target,
        "dry_run": dry_run,
        "seconds": round(time.monotonic() - begun, 1),
        "tables": [c.as_dict() for c in compacted],
    }
    table = rows_table([c.row(dry_run) for c in compacted])
    show(View(data, [table, maintenance.sentence(compacted, attempt.name, dry_run)]), output)
    if failed := [c.table for c in compacted if c.failed] if not dry_run else []:
        raise KappaError(
            f"the small files of {', '.join(failed)} are still there",
            expected="larger ones instead",
            found=said or "no commit of the compaction; the TaskManager's log tells why",
            next=f"kappa logs taskmanager; then: kappa maintain {name}",
        )


def run(settings: Settings, attempt: Attempt, tables: Collection[str], target: int) -> str:
    """Submit the job and wait for its end; what went wrong, as far as the client says.

    RetryableError when the session cluster is full or does not answer.
    """
    flink = Flink(settings)
    try:
        slots = flink.slots()
        running = flink.running(job_name(attempt))
    finally:
        flink.close()
    if running:
        raise RetryableError(
            f"a compaction of {attempt.full_name} is under way",
            expected="one at a time",
            found=f"job {running[0]}",
            next=f"kappa maintain {attempt.product}, once it has ended",
        )
    if not slots.free:
        raise RetryableError(
            "Flink's session cluster has no task slot left",
            expected="1 free for the compaction",
            found=f"0 of {slots.total}",
            next="repeat the command when a job has ended",
        )
    command = maintain_command(
        settings, fetch_bindings(settings, attempt.product, attempt.name), tables, target
    )
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **submit_env(settings)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LONGEST_SECONDS,
            check=False,
            umask=0o077,
        )
    except subprocess.TimeoutExpired:
        return f"flink run did not come to an end in {LONGEST_SECONDS:.0f} s"
    answer = judge(done.returncode, done.stdout.decode(errors="replace"))
    return answer.refused or answer.trouble


def job_name(attempt: Attempt) -> str:
    """As jobs/maintenance.py calls it, after the attempt in the bindings."""
    return f"{attempt.product}-{attempt.name}-maintenance"
