"""The gate as a JUnit XML file: what continuous integration shows beside its tests.

A suite for each outcome, a case for each check. FAIL is a failure. REVIEW is a skipped case with
its message: the format knows nothing between passed and failed, and of what it knows a skipped case
is the only one that GitLab, Jenkins, Azure and the usual actions of GitHub list by itself, with its
message, without turning the job red; the output of a passed case is hidden behind it. Whether the
job is red is decided by the exit code of the command, as FAIL alone does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from alliance.data_prep.errors import visible
from alliance.data_prep.files import AnyPath, as_path
from alliance.diagnostics.gate.gate import GateReport
from alliance.diagnostics.verdicts import CheckResult, Verdict
from alliance.inference.runs.whole_files import JUNIT, require_output, write_whole

# XML 1.0 has no other control characters, and half of a pair of surrogates is none.
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(reports: Sequence[GateReport], *, title: str, simulated: bool = False) -> bytes:
    """The gate's reports as JUnit XML.

    Parameters
    ----------
    reports : sequence of GateReport
    title : str
        The study's.
    simulated : bool
        Whether the data are; every suite then says so.

    Returns
    -------
    bytes
        UTF-8. ``testsuites`` and every ``testsuite`` count ``tests, failures, errors, skipped``;
        each ``testcase`` is named after its check, with the outcome in its ``classname``.
    """
    root = ET.Element("testsuites", name=_clean(f"alliance diagnose: {title}"))
    for report in reports:
        suite = ET.SubElement(root, "testsuite", name=_clean(report.outcome))
        properties = ET.SubElement(suite, "properties")
        told = {"profile": report.profile, "verdict": str(report.verdict)}
        if simulated:
            told["data"] = "SIMULATED"
        for name, value in told.items():
            ET.SubElement(properties, "property", name=name, value=_clean(value))
        for result in report.all_results:
            _case(suite, report.outcome, result)
        _count(suite, [suite])
    _count(root, root.findall("testsuite"))
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def write_junit(
    reports: Sequence[GateReport],
    path: AnyPath,
    *,
    title: str,
    simulated: bool = False,
    overwrite: bool = False,
) -> None:
    """Write the gate's reports as a JUnit XML file, whole or not at all.

    Parameters
    ----------
    reports : sequence of GateReport
    path : str or path-like
        An earlier file of the kind there is replaced.
    title : str
    simulated : bool
    overwrite : bool
        Whether another file is, too; what may be data or is part of a run never is.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    place = as_path(path)
    require_output(place, JUNIT, overwrite=overwrite)
    write_whole(place, junit_xml(reports, title=title, simulated=simulated))


def _case(suite: ET.Element, outcome: str, result: CheckResult) -> None:
    case = ET.SubElement(
        suite, "testcase", classname=_clean(f"alliance.{outcome}"), name=_clean(result.check)
    )
    words = _clean(f"{result.message} {result.recommendation}".strip())
    if result.verdict is Verdict.FAIL:
        failure = ET.SubElement(case, "failure", message=words, type=str(result.verdict))
        failure.text = _numbers(result)
    elif result.verdict is Verdict.REVIEW:
        ET.SubElement(case, "skipped", message=f"{result.verdict}: {words}")
    ET.SubElement(case, "system-out").text = f"{words}\n{_numbers(result)}"


def _numbers(result: CheckResult) -> str:
    """What was judged, and by what."""
    parts = {
        "value": result.value,
        "review limit": result.review,
        "fail limit": result.fail,
    }
    told = [f"{name} {value:.6g}" for name, value in parts.items() if value is not None]
    return _clean("; ".join([*told, f"from {result.worst}"] if result.worst else told))


def _count(element: ET.Element, suites: Sequence[ET.Element]) -> None:
    """Set the counts of a suite's cases, or of all suites'."""
    cases = [case for suite in suites for case in suite.findall("testcase")]
    element.set("tests", str(len(cases)))
    element.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    element.set("errors", "0")
    element.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))


def _clean(text: str) -> str:
    return visible(FORBIDDEN.sub("\ufffd", text))
