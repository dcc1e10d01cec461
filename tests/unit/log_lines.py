"""What a service logged, for tests."""

from __future__ import annotations

import io
import json
from typing import Any


def texts(stream: io.StringIO) -> list[str]:
    """Lines without their time."""
    return [line[21:] if line[:2] == "20" else line for line in stream.getvalue().splitlines()]


def documents(stream: io.StringIO) -> list[dict[str, Any]]:
    """Lines of JSON."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]
