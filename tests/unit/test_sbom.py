"""The bill of materials, and the question what is wrong with it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from local import jars, sbom

VULNERABLE = "pkg:maven/org.apache.logging.log4j/log4j-api@2.24.3"


def asking(answer: Callable[[httpx.Request], httpx.Response]) -> httpx.Client:
    return httpx.Client(base_url=sbom.OSV, transport=httpx.MockTransport(answer))


def purl(query: dict[str, Any]) -> str:
    return str(query["package"]["purl"])


def answered(request: httpx.Request) -> httpx.Response:
    """One package has two, on two pages."""
    results: list[dict[str, Any]] = []
    for query in json.loads(request.content)["queries"]:
        assert "?" not in purl(query)
        if purl(query) != VULNERABLE:
            results.append({})
        elif "page_token" in query:
            results.append({"vulns": [{"id": "CVE-2"}]})
        else:
            results.append({"vulns": [{"id": "CVE-1"}], "next_page_token": "more"})
    return httpx.Response(200, json={"results": results})


def test_every_locked_package_is_in_it_with_version_purl_and_hash() -> None:
    bill = json.loads(sbom.bill(sbom.packages()))  # which checks it against the schema of CycloneDX
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    found = {c["purl"]: c for c in bill["components"]}
    locked = [p for p in tomllib.loads(sbom.UV_LOCK.read_text())["package"] if p["name"] != "kappa"]
    for package in locked:
        component = found.pop(f"pkg:pypi/{package['name']}@{package['version']}")
        files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]
        digests = {f["hash"].removeprefix("sha256:") for f in files}
        assert {h["content"] for h in component["hashes"]} == digests != set()
        assert component["version"] == package["version"]
    for jar in jars.read_lock():
        group, artifact, version, classifier, _ = jar.fields
        (name,) = (
            p
            for p in found
            if p.partition("?")[0] == f"pkg:maven/{group}/{artifact}@{version}"
            and ("classifier=" in p) == bool(classifier)
        )
        component = found.pop(name)
        assert (component["group"], component["version"]) == (group, version)
        assert component["hashes"] == [{"alg": "SHA-256", "content": jar.sha256}]
    assert not found
    assert len(bill["components"]) == len(locked) + len(jars.read_lock()) > 100


def test_a_file_of_another_kind_keeps_its_classifier() -> None:
    (registry,) = (p for p in sbom.packages() if p.name == "apicurio-registry-app")
    assert registry.purl.endswith("@3.3.3?classifier=all&type=tar.gz")


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        pytest.param(answered, 1, f"{VULNERABLE}: CVE-1, CVE-2\n1 of ", id="vulnerable"),
        pytest.param(
            lambda r: httpx.Response(
                200, json={"results": [{}] * len(json.loads(r.content)["queries"])}
            ),
            0,
            "no known vulnerabilities\n",
            id="none",
        ),
        pytest.param(
            lambda r: httpx.Response(503),
            2,
            "error: https://api.osv.dev was not reached (",
            id="down",
        ),
        pytest.param(
            lambda r: httpx.Response(200, text="<html>"),
            2,
            "nothing is known of vulnerabilities",
            id="a proxy",
        ),
    ],
)
def test_what_is_known_decides_the_exit_code_and_the_bill_is_written(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    answer: Callable[[httpx.Request], httpx.Response],
    code: int,
    said: str,
) -> None:
    file = tmp_path / "new" / "kappa.cdx.json"
    assert sbom.main([str(file)], asking(answer)) == code
    lines = capsys.readouterr().out
    assert said in lines
    assert json.loads(file.read_text())["components"]
    if code == 2:
        assert len(lines.splitlines()) == 2
