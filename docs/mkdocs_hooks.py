"""Pages of this repository outside of docs/ are part of the site, too: `make docs`."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
OUTSIDE = {
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "bench/README.md": "bench.md",
    "bench/peers/README.md": "bench-peers.md",
}
"""Path in the repository → page of the site, in its top folder."""
_LINK = re.compile(r"\]\(([^()\s#]+\.md)(#[^()\s]*)?\)")
_FOLDER = re.compile(r"\[[^\[\]]+\]\(\.\./((?:sql|tests)/[\w/-]+)\)")
"""A folder of the repository, which the site does not have."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add these pages."""
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make links between files of the repository links between pages of the site; a folder is only named."""
    sources = {page: source for source, page in OUTSIDE.items()}
    here = posixpath.dirname(page.file.src_uri)
    folder = posixpath.dirname(sources.get(page.file.src_uri, f"docs/{page.file.src_uri}"))

    def in_the_site(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, match[1]))
        shown = OUTSIDE.get(target, target.removeprefix("docs/"))
        return f"]({posixpath.relpath(shown, here or '.')}{match[2] or ''})"

    return _LINK.sub(in_the_site, _FOLDER.sub(r"`\1`", markdown))
