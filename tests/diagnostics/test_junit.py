"""The gate for continuous integration: JUnit XML, and the stable JSON of `alliance diagnose`."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from alliance.data_prep.errors import InputError
from alliance.diagnostics.gate.gate import GateReport
from alliance.diagnostics.gate.junit import junit_xml, write_junit
from alliance.diagnostics.verdicts import CheckResult, Verdict


def result(check: str, verdict: Verdict, message: str = "Found.", **changes: object) -> CheckResult:
    parts: dict[str, object] = {
        "check": check,
        "verdict": verdict,
        "value": 1.5,
        "review": 1.0,
        "fail": 2.0,
        "worst": "pain: slope",
        "message": message,
        "recommendation": "" if verdict is Verdict.PASS else "Mend it.",
    }
    return CheckResult(**(parts | changes))  # type: ignore[arg-type]


REPORTS = (
    GateReport(
        "pain",
        "ci",
        (
            result("r_hat", Verdict.PASS),
            result("mcse", Verdict.REVIEW),
            result("divergences", Verdict.FAIL),
        ),
    ),
    GateReport("gpe", "ci", (result("r_hat", Verdict.PASS, value=None, fail=None),)),
)


def parsed(reports: tuple[GateReport, ...] = REPORTS, **options: bool) -> ET.Element:
    return ET.fromstring(junit_xml(reports, title="A <trial> & more", **options))


class TestContent:
    def test_a_suite_for_each_outcome_and_a_case_for_each_check(self) -> None:
        root = parsed()
        assert root.tag == "testsuites"
        assert root.get("name") == "alliance diagnose: A <trial> & more"
        suites = root.findall("testsuite")
        assert [suite.get("name") for suite in suites] == ["pain", "gpe"]
        cases = suites[0].findall("testcase")
        assert [case.get("name") for case in cases] == ["r_hat", "mcse", "divergences"]
        assert {case.get("classname") for case in cases} == {"alliance.pain"}

    def test_verdicts_become_what_a_server_shows(self) -> None:
        passed, reviewed, failed = parsed().findall("testsuite")[0].findall("testcase")
        assert passed.find("skipped") is passed.find("failure") is None
        assert reviewed.find("failure") is None
        assert reviewed.find("skipped").get("message") == "REVIEW: Found. Mend it."
        failure = failed.find("failure")
        assert (failure.get("type"), failure.get("message")) == ("FAIL", "Found. Mend it.")
        assert failure.text == "value 1.5; review limit 1; fail limit 2; from pain: slope"
        assert passed.find("system-out").text.startswith("Found.\nvalue 1.5")

    def test_counts_are_those_of_the_cases(self) -> None:
        root = parsed()
        names = ("tests", "failures", "errors", "skipped")
        assert [root.get(name) for name in names] == ["4", "1", "0", "1"]
        pain, gpe = root.findall("testsuite")
        assert [pain.get(name) for name in names] == ["3", "1", "0", "1"]
        assert [gpe.get(name) for name in names] == ["1", "0", "0", "0"]

    @pytest.mark.parametrize("simulated", [True, False])
    def test_simulated_data_are_marked(self, simulated: bool) -> None:
        for suite in parsed(simulated=simulated).findall("testsuite"):
            told = {each.get("name"): each.get("value") for each in suite.iter("property")}
            assert told.get("data") == ("SIMULATED" if simulated else None)
            assert told["profile"] == "ci"

    def test_characters_that_xml_does_not_know_are_replaced(self) -> None:
        words = "bell \x07, half \ud800, & <tag> \u00e9"
        report = GateReport("pain", "ci", (result("r_hat", Verdict.FAIL, words),))
        failure = parsed((report,)).find(".//failure")
        assert failure.get("message") == "bell \ufffd, half \ufffd, & <tag> \u00e9 Mend it."


class TestWriting:
    def test_an_earlier_file_is_replaced_and_nothing_else_left(self, tmp_path: Path) -> None:
        path = tmp_path / "gate.xml"
        write_junit(REPORTS, path, title="An earlier one")
        write_junit(REPORTS, path, title="A trial")
        assert path.read_bytes() == junit_xml(REPORTS, title="A trial")
        assert list(tmp_path.iterdir()) == [path]
        plain = tmp_path / "plain"
        plain.touch()
        assert path.stat().st_mode == plain.stat().st_mode

    def test_a_place_that_cannot_be_written_to(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        for place in (tmp_path / "missing" / "gate.xml", tmp_path / "folder"):
            with pytest.raises(InputError, match="cannot be written"):
                write_junit(REPORTS, place, title="A trial")
        assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]
