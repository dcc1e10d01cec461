"""What the product commands do, apart from their arguments: `replay/commands.py` imports it when it is needed."""

from __future__ import annotations

import shlex
import signal
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from replay import audit as auditing
from replay import deploy as deploying
from replay import lake, offsets
from replay import query as querying
from replay.decide import Cancel, Step, Wait
from replay.errors import ConfigError, KappaError, RefusedError, RetryableError
from replay.flink import FlinkDownError, Submission, submit_command, submit_env
from replay.loop import Diary, Loop, serve
from replay.model import Attempt, ProductState, Publication
from replay.offsets import Offsets
from replay.output import Output, out, print_json, print_rows
from replay.progress import Display, Meter, display, measure
from replay.release import bindings_file, build, find_folder
from replay.settings import Settings, kappa_home, load_settings
from replay.store import Store
from replay.world import World, read_product, write_bindings

POLL_SECONDS = 1.0
CONTROLLER_SECONDS = 2.0


def check(folder: Path, output: Output) -> None:
    """Print what the planner says; exit code 1 if the product must not be deployed."""
    read_product(folder)
    settings = load_settings() if (kappa_home() / "config.yaml").exists() else None
    answer = deploying.check(folder, settings)
    if output is Output.json:
        print_json(answer)
        raise typer.Exit(0 if answer["ok"] else 1)
    deploying.refuse_problems(answer)
    out.print(f"{folder}: safe to replay")


def deploy(request: deploying.Request, timeout: float, output: Output) -> None:
    """Begin or pick up, follow to the end, and show what readers see."""
    settings = load_settings()
    world, store = World(settings), Store(settings.store)
    loop = Loop(world, store)
    work = deploying.Deploy(settings, world, loop)
    try:
        with display(output) as shown:
            todo, target = work.begin(request, uuid.uuid4().hex, shown.say)
            done = _follow(loop, world, todo.attempt, target, shown, timeout)
    except KeyboardInterrupt:
        out.print(f"\nleft alone: the job goes on. Follow it again with: kappa deploy {request.name}", markup=False)
        raise typer.Exit(130) from None
    _show_published(settings, store.load(request.name), done, output)


def _follow(loop: Loop, world: World, attempt: Attempt, target: Offsets, shown: Display, timeout: float) -> Attempt:
    """Passes of the loop until readers see the target."""
    meter = Meter()
    deadline = time.monotonic() + timeout
    trouble = ""
    while True:
        begun = time.monotonic()
        step: Step | None = None
        state = loop.store.load(attempt.product)
        try:
            done = loop.run_once(attempt.product)
            deploying.refuse_blocked(done)
            step = done.step
            state = loop.store.load(attempt.product)
            job = done.seen.attempts.get(attempt.name)
            failing = job.job if job and job.job and job.job.status != "RUNNING" else None
            notable = done.step.reason if isinstance(done.step, Wait) and done.step.notable else ""
            trouble = done.seen.unreachable or (failing.error if failing else "") or notable
        except RetryableError as e:  # what is down comes back, under its supervisor
            trouble = str(e).replace("\n", " ")
            job = None
        successor = deploying.follow(attempt, state)
        if successor.name != attempt.name:
            shown.say(f"{attempt.name} ended: {state.attempt(attempt.name).error}")
            shown.say(f"{successor.name} begins from offset zero; readers see what they saw before")
        attempt = successor
        seen_job = job.job if job and job.job else None
        shown.show(measure(
            attempt, _positions(world, attempt), target,
            {"status": seen_job.status, "restarts": seen_job.restarts} if seen_job else {}, meter,
            _published_checkpoint(attempt, state.published), trouble))
        if deploying.finished(attempt, state, target):
            return attempt
        if time.monotonic() > deadline:
            raise RetryableError(f"{attempt.product} {attempt.name} is not published yet; its job goes on",
                                 expected=f"published within {timeout:.0f} s", found=trouble or attempt.state.value,
                                 next=f"kappa deploy {attempt.product}  (follows it)")
        if trouble or isinstance(step, Wait | Cancel):
            time.sleep(max(0.0, POLL_SECONDS - (time.monotonic() - begun)))


def _positions(world: World, attempt: Attempt) -> Offsets:
    try:
        return world.read_positions(attempt.job_id) if attempt.confirmed else {}
    except FlinkDownError:
        return {}


def _published_checkpoint(attempt: Attempt, published: Publication | None) -> int:
    return published.checkpoint if published and published.attempt_name == attempt.name else 0


def _show_published(settings: Settings, state: ProductState, attempt: Attempt, output: Output) -> None:
    published = state.published
    assert published is not None
    product = World(settings).product(attempt, state)
    rows = [{"table": table, "rows": _count(settings, product.name, table, published)} for table in product.outputs]
    if output is Output.json:
        print_json({"product": product.name, "attempt": attempt.name, "checkpoint": published.checkpoint,
                    "covered": offsets.to_json(published.covered), "tables": rows})
        return
    print_rows(rows, output, title=f"readers see {product.name} {attempt.name}, checkpoint {published.checkpoint}")
    out.print(f"next:  kappa query {product.name} \"SELECT * FROM {product.outputs[0]} LIMIT 5\"\n"
              f"       kappa audit {product.name}", markup=False)


def _count(settings: Settings, product: str, table: str, published: Publication) -> int:
    result = querying.query(settings, product, f'SELECT count(*) AS n FROM "{table}"', snapshots=published.after)
    return int(result.rows[0]["n"])


def controller() -> None:
    """The loop as a service, until a signal ends it."""
    ended = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: ended.set())
    settings = load_settings()

    def write(text: str) -> None:
        typer.echo(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}".replace("\n", " "))

    while True:  # on PostgreSQL the store may come up after us
        try:
            loop = Loop(World(settings), Store(settings.store))
            break
        except RetryableError as e:
            write(str(e))
            if ended.wait(CONTROLLER_SECONDS):
                return
    write(f"controller {loop.holder} is here")
    serve(loop, Diary(write), lambda: ended.wait(CONTROLLER_SECONDS))


def prepare(name: str, branch: str, source: Path | None, parallelism: int | None, output: Output) -> None:
    """Everything but the submission, which is printed."""
    if branch in (lake.MAIN, lake.GENESIS):
        raise RefusedError(f"a job never writes '{branch}'", expected="a new branch", found=branch,
                           next=f"kappa prepare {name} --branch byhand")
    settings = load_settings()
    world = World(settings)
    product = read_product(find_folder(name, source))
    deploying.preflight_log(settings, product)
    built = build(settings, product)
    lake.ensure_tables(world.catalog, product)
    lake.create_branch(world.catalog, product, branch)
    file = bindings_file(settings, product.name, branch)
    group, parallelism = f"kappa-{product.name}-{branch}", parallelism or product.settings.parallelism
    write_bindings(file, world.bindings(product, branch, group, world.reference_ends(product), parallelism))
    submission = Submission(uuid.uuid4().hex, f"{product.name}-{branch}", built.folder, file)
    command, env = submit_command(settings, submission), submit_env(settings)
    if output is Output.json:
        print_json({"command": command, "env": env, "branch": branch, "bindings": str(file),
                    "job_id": submission.job_id})
        return
    out.print(" \\\n".join([*(f"{k}={shlex.quote(v)}" for k, v in env.items()), shlex.join(command)]), markup=False)


def attempts(name: str | None, output: Output) -> None:
    """A row per attempt, and beneath the table why the ended ones ended."""
    store = Store(load_settings().store)
    rows = [row for product in ([name] if name else store.products()) for row in attempt_rows(store.load(product))]
    if name and not rows:
        raise _not_deployed(name)
    if output is Output.json:
        print_json(rows)
        return
    print_rows([short_row(row) for row in rows], output)
    for row in rows:
        if row["error"]:
            out.print(f"{row['product']} {row['attempt']}: {row['error']}", markup=False)


def status_rows() -> list[dict[str, Any]]:
    """What `kappa status` shows of the products; nothing before the first `kappa up`."""
    if not (kappa_home() / "config.yaml").exists():
        return []
    store = Store(load_settings().store)
    return [short_row(row) for product in store.products() for row in attempt_rows(store.load(product))]


def short_row(row: dict[str, Any]) -> dict[str, Any]:
    """What fits on 80 columns."""
    return {**{k: row[k] for k in ("product", "attempt", "state", "checkpoint", "published")}, "job": row["job"][:8]}


def attempt_rows(state: ProductState) -> list[dict[str, Any]]:
    """One row per attempt, for people."""
    rows = []
    for a in state.attempts:
        p = state.published if state.published and state.published.attempt_name == a.name else None
        rows.append({
            "product": a.product, "attempt": a.name, "state": a.state.value, "job": a.job_id,
            "checkpoint": a.checkpoint or None, "published": p.checkpoint if p else None,
            "covers": offsets.total(p.covered) if p else None, "error": a.error,
        })
    return rows


def query(name: str, sql: str, output: Output) -> None:
    """Rows of a query."""
    result = querying.query(load_settings(), name, sql)
    print_rows(result.rows, output, columns=result.columns)


def audit(name: str, output: Output) -> None:
    """A table of what became of the records; KappaError when one is unaccounted for."""
    settings = load_settings()
    store = Store(settings.store)
    state = store.load(name)
    published = state.published
    if published is None:
        raise _not_deployed(name)
    product = World(settings).product(state.attempt(published.attempt_name), state)
    report = auditing.audit(settings, product, auditing.Subject(published.after, published.covered))
    if output is Output.json:
        print_json({"attempt": published.attempt_name, "checkpoint": published.checkpoint, **report.as_dict()})
    else:
        what = f"{name} {published.attempt_name}, checkpoint {published.checkpoint}"
        print_rows(_audit_rows(report), output, title=f"what became of each record: {what}")
    if not report.ok:
        raise KappaError(f"{name} does not account for every record", expected="0 unaccounted, no violation",
                         found=_audit_faults(report), next=f"kappa deploy {name} --again  (and keep this output)")


def _audit_rows(report: auditing.AuditReport) -> list[dict[str, Any]]:
    """One row per kind, one column per topic: the partitions are in the JSON."""
    topics: dict[str, dict[str, int]] = {}
    for p in report.partitions:
        sums = topics.setdefault(p.topic, {})
        for kind, count in {"records": p.covered, **p.counts, **p.violations, "unaccounted": p.unaccounted}.items():
            sums[kind] = sums.get(kind, 0) + count
    kinds = list(dict.fromkeys(k for sums in topics.values() for k in sums if k != "unaccounted"))
    shown = [k for k in kinds if any(sums.get(k) for sums in topics.values())] + ["unaccounted"]
    return [{"": kind, **{topic: sums.get(kind, 0) for topic, sums in topics.items()}} for kind in shown]


def _audit_faults(report: auditing.AuditReport) -> str:
    faults = []
    for p in report.partitions:
        for kind, count in {"unaccounted": p.unaccounted, **p.violations}.items():
            if count:
                some = ", ".join(str(o) for o in p.samples.get(kind, ())[:5])
                faults.append(f"{p.topic}-{p.partition}: {count} {kind}, such as at offsets {some}")
    return "; ".join(faults)


def _not_deployed(name: str) -> KappaError:
    return ConfigError(f"nothing of '{name}' is published", expected="a product that was deployed",
                       found="no publication", next=f"kappa deploy {name}")
