"""`python -m local.sbom FILE`: a bill of materials of both lock files, in CycloneDX, and what is known to be wrong.

Vulnerabilities are asked of OSV (https://osv.dev), which has those of PyPI and of Maven Central, for exactly the
versions that are locked. Exit code 1 if there are some, 2 if OSV is not reached: then nothing is known, but the file is
written.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from local.jars import LOCK_FILE, read_lock

UV_LOCK = Path(__file__).parents[1] / "uv.lock"
OSV = "https://api.osv.dev"
_BATCH = 500
"""Questions in one request; OSV takes a thousand."""
_SECONDS = 60


@dataclass(frozen=True)
class Package:
    """One locked package, in exactly one version."""

    purl: str
    name: str
    version: str
    group: str
    sha256: tuple[str, ...]
    """Of each file that may be installed."""


def packages(uv_lock: Path = UV_LOCK, jars_lock: Path = LOCK_FILE) -> list[Package]:
    """Everything that is locked, but the project itself."""
    return [*_python(uv_lock), *_jars(jars_lock)]


def _python(file: Path) -> Iterator[Package]:
    for entry in tomllib.loads(file.read_text())["package"]:
        if "registry" in entry["source"]:
            files = [*entry.get("wheels", ()), *([entry["sdist"]] if "sdist" in entry else ())]
            digests = tuple(sorted(f["hash"].removeprefix("sha256:") for f in files))
            name, version = entry["name"], entry["version"]
            yield Package(f"pkg:pypi/{name}@{version}", name, version, "", digests)


def _jars(file: Path) -> Iterator[Package]:
    for jar in read_lock(file=file):
        group, artifact, version, classifier, packaging = jar.fields
        qualifiers = {"classifier": classifier, "type": packaging if packaging != "jar" else ""}
        asked = "&".join(f"{k}={v}" for k, v in qualifiers.items() if v)
        purl = f"pkg:maven/{group}/{artifact}@{version}{f'?{asked}' if asked else ''}"
        yield Package(purl, artifact, version, group, (jar.sha256,))


def bill(found: Sequence[Package]) -> str:
    """The bill of materials, CycloneDX 1.6 as JSON, checked against its schema."""
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    from packageurl import PackageURL

    parts = [
        Component(
            type=ComponentType.LIBRARY,
            name=p.name,
            version=p.version,
            group=p.group or None,
            bom_ref=p.purl,
            purl=PackageURL.from_string(p.purl),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in p.sha256],
        )
        for p in found
    ]
    bom = Bom(components=parts)
    bom.metadata.component = kappa = Component(
        type=ComponentType.APPLICATION, name="kappa", bom_ref="kappa"
    )
    bom.register_dependency(kappa, parts)
    text = JsonV1Dot6(bom).output_as_string(indent=1)
    if wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ValueError(f"not a bill of materials: {wrong}")
    return text + "\n"


def vulnerabilities(found: Sequence[Package], client: httpx.Client) -> dict[str, list[str]]:
    """Package URL → ids of what OSV knows about it; httpx.HTTPError when it is not reached."""
    known: dict[str, list[str]] = {}
    questions = [(p.purl, {"package": {"purl": p.purl.partition("?")[0]}}) for p in found]
    while questions:
        batch, questions = questions[:_BATCH], questions[_BATCH:]
        answer = client.post(
            "/v1/querybatch", json={"queries": [query for _, query in batch]}
        ).raise_for_status()
        for (purl, query), result in zip(batch, answer.json()["results"], strict=True):
            if ids := [v["id"] for v in result.get("vulns", ())]:
                known.setdefault(purl, []).extend(ids)
            if token := result.get("next_page_token"):
                questions.append((purl, {**query, "page_token": token}))
    return {purl: sorted(set(ids)) for purl, ids in known.items()}


def main(arguments: Sequence[str], client: httpx.Client | None = None) -> int:
    """Write the file, then ask."""
    file = Path(arguments[0])
    found = packages()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(bill(found))
    _say(f"{file}: {len(found)} packages of uv.lock and local/jars.lock")
    try:
        with client or httpx.Client(base_url=OSV, timeout=_SECONDS) as asked:
            known = vulnerabilities(found, asked)
    except (httpx.HTTPError, ValueError, KeyError) as e:
        _say(
            f"error: {OSV} was not reached ({_reason(e)}): nothing is known of vulnerabilities; repeat it elsewhere"
        )
        return 2
    for purl, ids in sorted(known.items()):
        _say(f"{purl}: {', '.join(ids)}")
    _say(
        f"{len(known)} of {len(found)} packages have known vulnerabilities"
        if known
        else "no known vulnerabilities"
    )
    return 1 if known else 0


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _say(line: Any) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
