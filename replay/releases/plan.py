"""What a change of a product's folder asks for, against the release that readers see. Pure: parts in, reasons out."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.product.folder import Product
from jobs.product.settings import ProductSettings
from replay import offsets
from replay.offsets import Offsets
from replay.releases import computation, runtime
from replay.releases.computation import Parts
from replay.releases.reason import Kind, Reason
from replay.releases.table_reasons import Tables, left_behind, of_tables

_ORDER = list(Kind)


@dataclass(frozen=True)
class Change:
    """All that changed."""

    reasons: tuple[Reason, ...]
    """What asks for most first."""
    diff: str
    """Unified diff of the product's files and of udfs/."""

    @property
    def kind(self) -> Kind:
        return self.reasons[0].kind if self.reasons else Kind.nothing


@dataclass(frozen=True)
class Version:
    """A product as it is archived, or as it would be."""

    product: Product
    files: Mapping[str, bytes]
    """Its files, and those of udfs/."""
    parts: Parts
    """What of it decides rows."""
    reference: Offsets = field(default_factory=dict)
    """Ends of the reference data that it reads."""


def compare(old: Version | None, new: Version, tables: Tables | None = None) -> Change:
    """What changed between what readers see (None: nothing yet) and a folder."""
    if old is None:
        first = Reason(
            Kind.replay, new.product.name, "nothing is published yet: this is the first release"
        )
        return Change((first, *left_behind(new.product, None, tables or {})), diff(None, new))
    reasons = [
        *of_tables(old.product, new.product),
        *_settings(old.product.settings, new.product.settings),
        *_contract(old.product, new.product),
        *_files(old, new),
        *_reference(old, new),
    ]
    if any(r.kind is Kind.replay for r in reasons):
        # only a replay writes to the tables as they are now
        reasons += left_behind(new.product, old.product, tables or {})
    reasons += _layout(old, new, {file for r in reasons for file in _told_of(r)})
    return Change(tuple(sorted(reasons, key=lambda r: -_ORDER.index(r.kind))), diff(old, new))


def diff(old: Version | None, new: Version) -> str:
    """Unified diff of the files, in the order of their names; of what is not text only that it differs."""
    before = old.files if old else {}
    return "".join(
        _file_diff(path, before.get(path), new.files.get(path))
        for path in sorted({*before, *new.files})
    )


def _file_diff(path: str, old: bytes | None, new: bytes | None) -> str:
    if old == new:
        return ""
    try:
        before, after = ((side or b"").decode().splitlines() for side in (old, new))
    except UnicodeDecodeError:
        return f"binary file {path} differs\n"
    lines = difflib.unified_diff(
        before,
        after,
        "/dev/null" if old is None else f"a/{path}",
        "/dev/null" if new is None else f"b/{path}",
        lineterm="",
    )
    return "".join(f"{line}\n" for line in lines)


def _settings(old: ProductSettings, new: ProductSettings) -> Iterator[Reason]:
    """product.yaml, but for what is said of its outputs."""
    before, after = (_flat(s.model_dump(mode="json")) for s in (old, new))
    decides = {
        key
        for s in (old, new)
        for key in _flat(s.model_dump(mode="json", include=set(computation.DECIDES)))
    }
    decides |= {key for key in {*before, *after} if re.fullmatch(r"outputs\.\w+\.where", key)}
    for key in sorted({*before, *after}):
        # an empty list of a new output says nothing
        was, is_ = (
            before.get(key) or None,
            after.get(key) or None,
        )
        if was == is_ or re.fullmatch(
            r"outputs\.\w+(\.(kind|of|key|window.*|partition|sort|topic))?", key
        ):
            continue
        yield Reason(
            Kind.replay if key in decides else Kind.metadata,
            f"product.yaml: {key}",
            f"{_word(before.get(key))} → {_word(after.get(key))}",
        )


def _contract(old: Product, new: Product) -> Iterator[Reason]:
    """contract.yaml: what it says, of columns that are there or not."""
    before, after = old.contract, new.contract
    for key in sorted({*before, *after} - {"schema"}):
        if before.get(key) != after.get(key):
            yield Reason(Kind.metadata, f"contract.yaml: {key}", "changed")
    were, are = ({t.get("name"): t for t in c.get("schema") or ()} for c in (before, after))
    for name in (n for n in are if n in were):
        yield from _contract_of_table(f"contract.yaml: {name}", were[name], are[name])


def _contract_of_table(
    where: str, old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[Reason]:
    if keys := _differing(old, new, but={"properties"}):
        yield Reason(Kind.metadata, where, f"{keys} changed")
    were, are = ({p["name"]: p for p in t.get("properties") or ()} for t in (old, new))
    for column in (c for c in are if c in were):
        if keys := _differing(were[column], are[column], but=set()):
            yield Reason(Kind.metadata, f"{where}.{column}", f"{keys} changed")


def _files(old: Version, new: Version) -> Iterator[Reason]:
    """What decides rows besides the two files that are read field by field, and files that decide none."""
    named = {"product.yaml", "contract.yaml"}
    for part in sorted({*old.parts, *new.parts} - named):
        if old.parts.get(part) != new.parts.get(part):
            yield _part(old.parts, new.parts, part)
    for path in sorted({*old.files, *new.files} - {*old.parts, *new.parts} - named):
        is_query = path.endswith(".sql") and "/" not in path  # its plan is what counts
        if old.files.get(path) != new.files.get(path) and not is_query:
            yield Reason(
                Kind.metadata, path, f"{_happened(old.files, new.files, path)}, and decides no row"
            )


def _part(old: Parts, new: Parts, part: str) -> Reason:
    """A part of what decides rows that differs."""
    if part.startswith("secrets/"):
        return Reason(Kind.replay, part, _key_change(old, new, part))
    if part.startswith(computation.PLAN):
        table = part.removeprefix(computation.PLAN)
        return Reason(
            Kind.replay, f"plan of {table}", "another one, in an operator or in an expression"
        )
    if runtime.is_part(part):
        return Reason(
            Kind.replay, part, f"{_short(old, part)} → {_short(new, part)}: its rows may differ"
        )
    return Reason(Kind.replay, part, _happened(old, new, part))


def _short(parts: Parts, part: str) -> str:
    return runtime.short(parts[part].decode() if part in parts else None)


def _key_change(old: Parts, new: Parts, path: str) -> str:
    """Keys have ids, which say nothing of them."""
    was, is_ = (parts[path].decode() if path in parts else "none" for parts in (old, new))
    return f"another key: {was} → {is_}; the release that readers see keeps its own"


def _layout(old: Version, new: Version, told: set[str]) -> Iterator[Reason]:
    """Files that differ in nothing that was said of them."""
    for path in sorted({*old.files, *new.files} - told):
        if old.files.get(path) != new.files.get(path):
            yield Reason(
                Kind.metadata,
                path,
                "nothing that counts: comments, order, layout, names of views, defaults",
            )


def _told_of(reason: Reason) -> tuple[str, ...]:
    """The files that it is from."""
    subject, _, of = reason.where.partition(" ")
    plan = ("views.sql", f"{of.removeprefix('of ')}.sql")
    return {"table": ("product.yaml", "contract.yaml"), "column": (), "plan": plan}.get(
        subject, (reason.where.partition(":")[0],)
    )


def _reference(old: Version, new: Version) -> Iterator[Reason]:
    for topic in sorted({*old.reference} & {*new.reference}):
        if old.reference[topic] != new.reference[topic]:
            counts = [offsets.total(offsets.only(v.reference, [topic])) for v in (old, new)]
            yield Reason(
                Kind.replay,
                f"topic {topic}",
                f"new reference data: {counts[0]:,} → {counts[1]:,} records; a "
                "release reads what is there when it is built",
            )


def _happened(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> str:
    return "removed" if path not in new else "changed" if path in old else "new"


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one: {'topics.flights.role': 'events'}."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        k: v
        for key, inner in value.items()
        for k, v in _flat(inner, f"{prefix}.{key}" if prefix else key).items()
    }


def _word(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return (
        "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )


def _differing(old: Mapping[str, Any], new: Mapping[str, Any], but: set[str]) -> str:
    return ", ".join(sorted(k for k in {*old, *new} - but if old.get(k) != new.get(k)))
