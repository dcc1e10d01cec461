"""What the product commands do, apart from their arguments: the `*_commands.py` import it when it is needed."""

from __future__ import annotations

import shlex
import uuid
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from jobs import explain as explaining
from jobs.bindings import Bindings
from jobs.bindings import Catalog as BoundCatalog
from jobs.product.folder import Product
from replay import offsets
from replay.audit import audit as auditing
from replay.audit.advice import advice, faults
from replay.cli import resolve as run_resolve
from replay.cli.look import look
from replay.controller.platform import Platform, write_bindings
from replay.controller.preflight import preflight_log
from replay.core.model import group_prefix
from replay.errors import KappaError, RefusedError, not_deployed
from replay.flink.submit import Submission, submit_command, submit_env
from replay.home import kappa_home
from replay.iceberg import lake, table_changes
from replay.kafka import clients
from replay.output import Output, View, busy, rows_table, show
from replay.releases import launch
from replay.releases.folders import read_product
from replay.releases.release import bindings_file, build, find_folder
from replay.secret import shown
from replay.settings import Settings, load_settings
from replay.store.store import Store


def explain(folder: Path, output: Output) -> None:
    """Print the SQL that is generated for a product, bound to the log and the catalog of the settings."""
    settings = load_settings() if (kappa_home() / "config.yaml").exists() else None
    product = run_resolve.resolve(settings, read_product(folder))
    text = explaining.explain(product, explained_bindings(settings, product))
    data = {
        "product": product.name,
        "sql": text,
        "outputs": {n: o.model_dump(mode="json") for n, o in product.outputs.items()},
    }
    show(View(data, text.rstrip("\n")), output)


def explained_bindings(settings: Settings | None, product: Product) -> Bindings:
    """What an attempt would be bound to, as far as it is known without asking anybody."""
    kafka = (
        shown(clients.kafka_of_job(settings))
        if settings
        else {"bootstrap.servers": "127.0.0.1:9092"}
    )
    registry = settings.registry.url if settings else "http://127.0.0.1:8081"
    login = shown(clients.registry_of_job(settings.registry)) if settings else {}
    name, options = (
        (settings.catalog.name, shown(settings.catalog.flink)) if settings else ("lake", {})
    )
    catalog = BoundCatalog(name=name, options=options)
    return Bindings(
        attempt=f"{product.name}-explain",
        branch="explain",
        group=f"{group_prefix(product.name)}explain",
        kafka=kafka,
        registry=registry,
        registry_options=login,
        catalog=catalog,
        namespace=product.name,
        parallelism=product.settings.parallelism,
        checkpoint_interval=product.settings.checkpoint_interval,
        checkpoint_dir="",
    )


def prepare(
    name: str, branch: str, source: Path | None, parallelism: int | None, output: Output
) -> None:
    """Everything but the submission, which is printed."""
    if branch in (lake.MAIN, lake.GENESIS):
        raise RefusedError(
            f"a job never writes '{branch}'",
            expected="a new branch",
            found=branch,
            next=f"kappa prepare {name} --branch byhand",
        )
    settings = load_settings()
    platform = Platform(settings)
    product = read_product(find_folder(name, source))
    preflight_log(settings, product)
    product = run_resolve.resolve(settings, product)
    built = build(settings, product)
    table_changes.ensure(platform.catalog, product)
    lake.create_branch(platform.catalog, product, branch)
    file = bindings_file(settings, product.name, branch)
    group, parallelism = (
        group_prefix(product.name) + branch,
        parallelism or product.settings.parallelism,
    )
    write_bindings(
        file,
        platform.bindings(product, branch, group, platform.reference_ends(product), parallelism),
    )
    submission = Submission(
        uuid.uuid4().hex,
        f"{product.name}-{branch}",
        built.folder,
        file,
        launch=launch.of_release(built.folder),
    )
    command, env = submit_command(settings, submission), submit_env(settings)
    data = {
        "command": command,
        "env": env,
        "branch": branch,
        "bindings": str(file),
        "job_id": submission.job_id,
    }
    parts = [*(f"{k}={shlex.quote(v)}" for k, v in env.items()), shlex.join(command)]
    show(View(data, " \\\n".join(parts)), output)


def audit(name: str, output: Output) -> None:
    """A table of what became of the records; KappaError when one is unaccounted for."""
    settings = load_settings()
    store = Store(settings.store)
    state = store.load(name)
    published = state.published
    if published is None:
        raise not_deployed(name)
    platform = Platform(settings)
    product = platform.product(state.attempt(published.attempt_name), state)
    with busy(f"reading {offsets.total(published.covered):,} records of the log again"):
        report = auditing.audit(
            settings, product, auditing.AuditSubject(published.after, published.covered)
        )
    stopped = look(platform, store, name).stopped
    data = {
        "attempt": published.attempt_name,
        "checkpoint": published.checkpoint,
        **report.as_dict(),
        "publishing_stopped": stopped,
    }
    what = f"{name} {published.attempt_name}, checkpoint {published.checkpoint}"
    text: list[RenderableType] = [
        rows_table(_audit_rows(report), title=f"what became of each record: {what}")
    ]
    if stopped:
        text.append(Text(stopped, style="bold red"))
    show(View(data, text), output)
    if not report.ok:
        raise KappaError(
            f"{name} does not account for every record",
            expected="0 unaccounted, no violation",
            found=faults(report),
            next=advice(product, report),
        )


def _audit_rows(report: auditing.AuditReport) -> list[dict[str, Any]]:
    """One row per kind, one column per topic: the partitions are in the JSON."""
    topics: dict[str, dict[str, int]] = {}
    for p in report.partitions:
        sums = topics.setdefault(p.topic, {})
        for kind, count in {
            "records": p.covered,
            **p.counts,
            **p.violations,
            "unaccounted": p.unaccounted,
        }.items():
            sums[kind] = sums.get(kind, 0) + count
    kinds = list(dict.fromkeys(k for sums in topics.values() for k in sums if k != "unaccounted"))
    shown = [k for k in kinds if any(sums.get(k) for sums in topics.values())] + ["unaccounted"]
    return [
        {"": kind, **{topic: sums.get(kind, 0) for topic, sums in topics.items()}} for kind in shown
    ]
