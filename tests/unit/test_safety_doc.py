"""docs/safety.md says what the check does."""

from __future__ import annotations

from jobs.safety import functions
from tests.safety_doc import DOC, text
from tests.safety_examples import EXAMPLES


def test_the_page_is_that_of_the_rules() -> None:
    assert DOC.read_text() == text(), "python -m tests.safety_doc > docs/safety.md"


def test_each_example_has_its_own_title() -> None:
    assert len({e.title for e in EXAMPLES}) == len(EXAMPLES)


def test_no_function_is_both_allowed_and_refused() -> None:
    every = functions.SCALAR | functions.AGGREGATES | functions.OF_PATTERNS
    assert not every & (functions.ARRIVAL | set(functions.REFUSED))
