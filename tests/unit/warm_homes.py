"""Homes that may have a warm planner."""

from __future__ import annotations

from pathlib import Path

import pytest

from replay.flink import planner
from replay.settings import CatalogSettings, FlinkSettings, Settings


def warm_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """One with what is looked at of Flink before a planner is asked."""
    monkeypatch.delenv(planner.SWITCH)
    flink = folder / "flink"
    for name in ("lib", "opt", "bin"):
        (flink / name).mkdir(parents=True)
    (folder / "run").mkdir()
    (flink / "opt" / "flink-python-2.1.3.jar").touch()
    client = flink / "bin" / "flink"
    client.write_text("#!/bin/sh\nexit 0\n")
    client.chmod(0o755)
    return Settings(
        home=folder,
        kafka={},
        registry="http://registry",
        store="sqlite://",
        secrets=folder / "secrets",
        flink=FlinkSettings(rest="http://127.0.0.1:8081", home=flink, checkpoints="file:///ck"),
        catalog=CatalogSettings(flink={}, pyiceberg={}),
    )
