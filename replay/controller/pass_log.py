"""What a service logs about its passes over products: every step, and every complaint when it changes."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from replay.controller.loop import about
from replay.controller.service_log import logger
from replay.controller.watching import Pass, Watcher
from replay.core.model import CANDIDATE
from replay.core.observed import Observation
from replay.core.steps import Blocked, Record, Step, Wait, action, attempt_name
from replay.errors import KappaError

REPEAT_SECONDS = 3600.0
"""A complaint in which only numbers change, such as how far a clock is behind, is logged again after so long."""
NOTED_SECONDS = 1.0
"""Of a step that took at least so long, the log says how long."""
_log = logger("controller")


_NUMBER = re.compile(r"(?<!partition )\b\d[\d,.:]*")


@dataclass(frozen=True)
class _LoggedComplaint:
    """A complaint as it was logged."""

    text: str
    at: float


class PassLog(Watcher):
    """Logs steps, and complaints that are new or over."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._said: dict[tuple[str, str], _LoggedComplaint] = {}
        """By what is complained of: a product, or a part of the service."""

    def listed(self, products: Sequence[str]) -> None:
        """The store answers; of products that are gone nothing is remembered."""
        self.part_works("store")
        self._said = {
            key: said for key, said in self._said.items() if key[0] == "part" or key[1] in products
        }

    def unlisted(self, error: Exception) -> None:
        self.part_failed("store", error)

    def performed(self, product: str, step: Step, seen: Observation, seconds: float) -> None:
        level = logging.DEBUG if _is_routine(step) else logging.INFO
        _log.log(level, action(step), product=product, **about(step), **_took(seconds))

    def passed(self, product: str, done: Pass, seconds: float) -> None:
        step = done.step
        if isinstance(step, Blocked):
            text = (
                f"{step.message}; expected {step.expected}; found {step.found}; next: {step.next}"
            )
            self._complain(("product", product), text, None, product=product)
            return
        if not isinstance(step, Wait):  # what is wrong may be so still: the next pass tells
            return
        if step.notable:
            text = _without_name(step, step.news or step.reason)
            self._complain(("product", product), text, None, product=product, **about(step))
        else:
            self._recover(("product", product), product=product)
        _log.debug(f"waiting: {_without_name(step, step.reason)}", product=product, **about(step))

    def failed(self, product: str, error: Exception, seconds: float) -> None:
        """With the traceback of an unexpected error."""
        self._complain(("product", product), in_words(error), error, product=product)

    def part_failed(self, part: str, error: Exception) -> None:
        """A part of the service, such as its store, does not work."""
        self._complain(("part", part), in_words(error), error, part=part)

    def part_works(self, part: str) -> None:
        """It does."""
        self._recover(("part", part), part=part)

    def _complain(
        self, key: tuple[str, str], text: str, error: Exception | None, **fields: Any
    ) -> None:
        """Log what is wrong, once, and in one line."""
        text = " ".join(text.split())
        if (last := self._said.get(key)) and self._is_told(last, text):
            return
        self._said[key] = _LoggedComplaint(text, self._now())
        if error and is_unexpected(error):
            _log.error(text, exc_info=error, **fields)
        else:
            _log.warning(text, **fields)

    def _is_told(self, last: _LoggedComplaint, text: str) -> bool:
        if last.text == text:
            return True
        return (
            without_numbers(last.text) == without_numbers(text)
            and self._now() - last.at < REPEAT_SECONDS
        )

    def _recover(self, key: tuple[str, str], **fields: Any) -> None:
        if self._said.pop(key, None):
            _log.info("recovered", **fields)


def is_unexpected(error: Exception) -> bool:
    """Whether it is unexpected, and so a fault of this program until shown otherwise."""
    return not isinstance(error, KappaError | SQLAlchemyError)


def in_words(error: Exception) -> str:
    """An error in one line."""
    return (
        " ".join(str(error).split())
        if isinstance(error, KappaError)
        else f"{type(error).__name__}: {error}"
    )


def _is_routine(step: Step) -> bool:
    """Whether another line says it too: what is recorded of an attempt that readers see is published next."""
    return isinstance(step, Record) and step.attempt.state not in CANDIDATE


def without_numbers(text: str) -> str:
    """What stays the same while only numbers change; another partition is another complaint."""
    return _NUMBER.sub("#", text)


def _without_name(step: Wait, text: str) -> str:
    """Why it waits, on a line that names the attempt."""
    name = attempt_name(step)
    return text.removeprefix(f"{name}: ") if name else text


def _took(seconds: float) -> dict[str, float]:
    return {"seconds": round(seconds, 1)} if seconds >= NOTED_SECONDS else {}
