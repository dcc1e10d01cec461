"""Results as JUnit's XML, which every build server reads. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xml(product: str, results: Sequence[Mapping[str, str]], seconds: float) -> str:
    """`results`: name, file, status (passed, failed or error) and, unless it passed, message and text of each test."""
    count = [result["status"] for result in results].count
    attributes = {
        "name": product,
        "tests": str(len(results)),
        "failures": str(count("failed")),
        "errors": str(count("error")),
        "time": f"{seconds:.3f}",
    }
    suites = ElementTree.Element("testsuites", attributes)
    suite = ElementTree.SubElement(suites, "testsuite", attributes)
    for result in results:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            {"classname": f"{product}.{_text(result['stem'])}", "name": _text(result["name"])},
        )
        if result["status"] != "passed":
            tag = "failure" if result["status"] == "failed" else "error"
            problem = ElementTree.SubElement(case, tag, {"message": _text(result["message"])})
            problem.text = _text(result["text"])
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _text(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
