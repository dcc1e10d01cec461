"""What `kappa config` does, apart from its arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, SecretStr

from replay.output import Output, View, show
from replay.secret import show as show_secret
from replay.secret import show_address
from replay.settings import load_settings

_URLS = ("store", "uri")
"""Of these, the host is shown."""


def config(output: Output) -> None:
    """Print the settings, defaults among them, with *** in place of what is secret."""
    settings = load_settings()
    shown = redacted(settings)
    text = yaml.safe_dump(shown, sort_keys=False, width=10_000).rstrip("\n")
    show(View(shown, [f"# {settings.home / 'config.yaml'}, with all defaults", text]), output)


def redacted(value: Any, name: str = "") -> Any:
    """A part of the settings as plain values."""
    if isinstance(value, BaseModel):
        return {field: redacted(getattr(value, field), field) for field in type(value).model_fields}
    if isinstance(value, dict):
        return {key: redacted(found, key) for key, found in value.items()}
    if isinstance(value, SecretStr):
        return show_address(value) if name in _URLS else show_secret(value)
    if isinstance(value, tuple):
        return [redacted(found) for found in value]
    return str(value) if isinstance(value, Path) else value
