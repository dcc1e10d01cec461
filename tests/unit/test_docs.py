"""The documentation: generated pages are up to date, links lead somewhere, and what the program says of it is right."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from jobs.product.folder import ProductError, load_product
from tests import cli_doc, product_yaml_doc, refused_statements
from tests.pages import ROOT, Link, headings, links, pages, slug

DOCS = ROOT / "docs"
CODE = ("deploy", "demo", "jobs", "local", "replay", "sql", "udfs")
NAMED = re.compile(
    r"(?:docs/[\w-]+\.md|SECURITY\.md|CONTRIBUTING\.md|bench/README\.md)(?:#[\w-]+)?"
)
QUOTED = re.compile(r"`([^`]+)`")
PLACEHOLDER = re.compile(r"…|\b(?:NAME|flights|orders|\d+)\b")


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("doc", [cli_doc, product_yaml_doc], ids=lambda doc: doc.DOC.name)
def test_a_generated_page_is_that_of_the_code(doc: ModuleType) -> None:
    assert doc.DOC.read_text() == doc.text(), f"python -m {doc.__name__} > {named(doc.DOC)}"


def test_every_command_is_in_one_group_of_the_reference() -> None:
    grouped = [name for names in cli_doc.GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(cli_doc.commands())


@pytest.mark.parametrize("page", pages(), ids=named)
def test_links_lead_to_pages_and_headings_that_exist(page: Path) -> None:
    assert [link.target for link in links(page) if broken(link)] == []


def broken(link: Link) -> bool:
    if link.leaves_the_repository:
        return False
    if not link.anchor:
        return not link.file.exists()
    return not link.file.is_file() or link.anchor not in [
        anchor for anchor, _ in headings(link.file)
    ]


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("Reading several tables", "reading-several-tables"),
        ("`flink run` by hand", "flink-run-by-hand"),
        ("The log's clock", "the-logs-clock"),
        ("config.yaml", "configyaml"),
        ("Refused, and corrected", "refused-and-corrected"),
        ("See [the log](x.md)", "see-the-log"),
        ("JSON … ERROR", "json--error"),
        ("keyed_by", "keyed_by"),
    ],
)
def test_anchors_are_those_of_github(heading: str, anchor: str) -> None:
    assert slug(heading) == anchor


def test_a_heading_that_is_there_twice_has_a_numbered_anchor_and_code_has_none(
    tmp_path: Path,
) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A\n\n```\n# no heading\n[no](link)\n```\n\n## B\n\n## B\n\n"
        "[x](#b-1) `[no](link)` [`y`](other.md)\n"
    )
    assert headings(page) == [("a", "A"), ("b", "B"), ("b-1", "B")]
    assert [link.target for link in links(page)] == ["#b-1", "other.md"]
    assert [broken(link) for link in links(page)] == [False, True]


def test_pages_and_headings_that_the_program_names_exist() -> None:
    found = [(file, name) for file in sources() for name in NAMED.findall(file.read_text())]
    assert len(found) > 8
    assert [(named(file), name) for file, name in found if broken(Link(ROOT / "x", name))] == []


def sources() -> list[Path]:
    files = [file for folder in CODE for file in (ROOT / folder).rglob("*")]
    return [
        f
        for f in [*files, ROOT / "docker-compose.yml"]
        if f.suffix in (".py", ".java", ".sh", ".yaml", ".yml", ".sql", ".json", ".txt")
        and f.is_file()
    ]


def test_the_index_lists_every_page() -> None:
    listed = {link.file for link in links(DOCS / "README.md")}
    assert {p for p in DOCS.glob("*.md") if p.name != "README.md"} <= listed


def test_the_readme_fits_on_a_few_screens() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_messages_that_troubleshooting_explains_are_those_of_the_program() -> None:
    code = " ".join(" ".join(file.read_text() for file in sources()).split())
    rows = [
        line
        for line in (DOCS / "troubleshooting.md").read_text().splitlines()
        if line.startswith("| ")
    ]
    said = [
        part.strip(" ;:")
        for row in rows
        for quoted in QUOTED.findall(row.split(" | ")[0])
        for part in PLACEHOLDER.split(quoted)
    ]
    assert len(said) > 30
    assert [part for part in said if len(part) > 7 and part not in code] == []


def test_pipelines_links_to_every_product_of_the_tests() -> None:
    products = {file.parent for file in (ROOT / "tests" / "products").glob("*/product.yaml")}
    linked = {link.file for link in links(refused_statements.PAGE)}
    assert products - linked == set()


def test_every_refusal_of_pipelines_has_a_statement_and_an_answer() -> None:
    found = list(refused_statements.refused())
    assert len(found) > 9
    assert [r.title for r in found if not r.answers or not r.file.parent.is_dir()] == []


@pytest.mark.parametrize(
    "said",
    [r for r in refused_statements.refused() if r.file.name == "product.yaml"],
    ids=lambda said: str(said.title),
)
def test_what_pipelines_says_of_a_refused_product_yaml_is_the_answer_to_it(
    tmp_path: Path, said: refused_statements.Refused
) -> None:
    """Those of SQL need Flink's planner: tests/integration/test_pipelines.py."""
    folder = shutil.copytree(said.file.parent, tmp_path / said.file.parent.name)
    (folder / "product.yaml").write_text(said.text)
    with pytest.raises(ProductError) as e:
        load_product(folder)
    assert said.answers == ((e.value.found, e.value.expected),)
