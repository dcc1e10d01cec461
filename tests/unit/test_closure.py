"""Which modules a program consists of."""

from __future__ import annotations

from pathlib import Path

import pytest

from replay.releases.closure import imported, modules

FILES = {
    "app/__init__.py": "",
    "app/run.py": "import os\nfrom app import model\nfrom app.inner.parts import part\n",
    "app/model.py": "from app.run import main\n",  # a circle
    "app/inner/__init__.py": "from .helper import help\n",
    "app/inner/helper.py": "def help():\n    import app.late\n",
    "app/inner/parts.py": "from ..shared import x\nfrom . import sibling\nimport other.thing\n",
    "app/inner/sibling.py": "",
    "app/shared.py": "",
    "app/late.py": "",
    "app/checker.py": "from app import model\n",
    "app/broken.py": "def (:\n",
    "other/__init__.py": "",
    "other/thing.py": "",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_module_its_packages_and_all_that_they_import(root: Path) -> None:
    found = modules(root, ["app.run"], ("app",))
    assert sorted(found) == [
        "app",
        "app.inner",
        "app.inner.helper",
        "app.inner.parts",
        "app.inner.sibling",
        "app.late",
        "app.model",
        "app.run",
        "app.shared",
    ]
    assert found["app.inner"] == root / "app" / "inner" / "__init__.py"


def test_other_packages_are_followed_when_they_are_named(root: Path) -> None:
    assert {"other", "other.thing"} <= modules(root, ["app.run"], ("app", "other")).keys()


def test_what_cannot_be_read_is_there_and_imports_nothing(root: Path) -> None:
    (root / "app" / "linked.py").symlink_to(root / "app" / "run.py")
    assert sorted(modules(root, ["app.broken", "app.linked", "app.absent"], ("app",))) == [
        "app",
        "app.broken",
        "app.linked",
    ]


def test_names_that_a_module_imports(root: Path) -> None:
    assert set(imported(root / "app/inner/parts.py", "app.inner.parts")) == {
        "app.shared",
        "app.shared.x",
        "app.inner",
        "app.inner.sibling",
        "other.thing",
    }
