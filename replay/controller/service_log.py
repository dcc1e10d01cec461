"""The log of a service: structlog over the standard library, as lines for people or as JSON for programs.

What libraries log goes the same way, so every line has a time, a level and the fields bound where it was written.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from replay.errors import ConfigError

LEVELS = ("debug", "info", "warning", "error")
_SHOWN_OF_JOB_ID = 8
_LEVEL_WIDTH = 7
"""That of 'warning': texts begin in one column."""
_NOT_FIELDS = ("event", "level", "timestamp", "logger", "exception")
OURS = "replay"
"""Of our own loggers all levels asked for are written, of libraries' what is wrong."""


_SHARED: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    # A traceback's text and no more: values of local variables may be secrets.
    structlog.processors.format_exc_info,
)


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger of ours. What it writes goes to the standard library's of this name, so nowhere before `configure`."""
    found: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(f"{OURS}.{name}"),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
    )
    return found


def configure(environment: Mapping[str, str] = os.environ, stream: TextIO | None = None) -> None:
    """Log to a stream, by default stdout, as KAPPA_LOG (text or json) and KAPPA_LOG_LEVEL say.

    ConfigError when they say something else.
    """
    form = _choice(environment, "KAPPA_LOG", ("text", "json"), "text")
    level = _choice(environment, "KAPPA_LOG_LEVEL", LEVELS, "info").upper()
    render: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False) if form == "json" else line
    )
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(OURS).setLevel(level)
    logging.captureWarnings(True)


def line(_: WrappedLogger, __: str, event: EventDict) -> str:
    """One line for people: time, level, what it is about, text, further fields; a traceback beneath.

    `2026-11-27 04:40:22Z info    orders r1-a1: publish checkpoint 12  job=1a2b3c4d`
    """
    at = str(event.get("timestamp", ""))[:19].replace("T", " ")
    fields = {
        name: value
        for name, value in event.items()
        if name not in _NOT_FIELDS and value not in (None, "")
    }
    about = " ".join(str(fields.pop(name)) for name in ("product", "attempt") if name in fields)
    fields.pop("release", None)  # the name of the attempt begins with it
    if job_id := fields.pop("job_id", None):
        fields["job"] = str(job_id)[:_SHOWN_OF_JOB_ID]
    more = " ".join(f"{name}={value}" for name, value in fields.items())
    text = " ".join(str(event.get("event", "")).split())
    head = f"{at}Z {event.get('level', ''):<{_LEVEL_WIDTH}} "
    shown = head + (f"{about}: " if about else "") + text + (f"  {more}" if more else "")
    exception = event.get("exception")
    return (
        shown + "".join(f"\n  {row}" for row in str(exception).splitlines()) if exception else shown
    )


def _choice(
    environment: Mapping[str, str], name: str, choices: tuple[str, ...], default: str
) -> str:
    value = environment.get(name, "").strip().lower() or default
    if value not in choices:
        raise ConfigError(
            f"{name} is none of its values",
            expected=" or ".join(choices),
            found=value,
            next=f"unset {name}",
        )
    return value
