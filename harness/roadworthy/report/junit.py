"""`junit.xml`: one test suite per planner, one test per case, for CI systems."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from roadworthy.report.view import Result, View

__all__ = ["junit_of"]

# XML 1.0 has no way to write these, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TRACEBACK = 4000


def junit_of(view: View) -> bytes:
    """Errors are cases that could not be judged, failures those that were judged failures."""
    root = ET.Element("testsuites", name=_clean(view.title))
    for i, entry in enumerate(view.entries):
        results = [(case, case.results[i]) for case in view.cases]
        present = [(case, result) for case, result in results if result is not None]
        suite = ET.SubElement(root, "testsuite", name=_clean(entry.label))
        counts = {"tests": len(present), "errors": 0, "failures": 0}
        total = 0.0
        for case, result in present:
            seconds = result.record.seconds.get("total", 0.0)
            total += seconds
            test = ET.SubElement(
                suite,
                "testcase",
                classname=_clean(entry.label),
                name=_clean(case.name),
                time=f"{seconds:.3f}",
            )
            verdict = _verdict(test, result)
            if verdict:
                counts[verdict] += 1
        for name, count in counts.items():
            suite.set(name, str(count))
        suite.set("time", f"{total:.3f}")
    ET.indent(root)
    body: bytes = ET.tostring(root, "utf-8")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + body + b"\n"


def _verdict(test: ET.Element, result: Result) -> str:
    """Adds why the test failed, and says under what that counts."""
    if not result.failed:
        return ""
    blamed = [r for r in result.reasons if r.level != "near"]
    lines = [r.text + (f" at step {r.step}" if r.step >= 0 else "") for r in blamed]
    error = result.record.error
    tag, kind = ("error", error.type) if error else ("failure", blamed[0].text)
    message = error.message if error else "; ".join(lines)
    node = ET.SubElement(test, tag, type=_clean(kind), message=_clean(message))
    detail = error.traceback[-_TRACEBACK:] if error and error.traceback else "\n".join(lines)
    node.text = _clean(detail)
    return "errors" if error else "failures"


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
