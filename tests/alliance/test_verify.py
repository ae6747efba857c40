"""Reference cases: all pass here, and an altered number of an oracle is found and named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import alliance

from alliance.diagnostics import verify as verify_module
from alliance.diagnostics.verify import EMBEDDED, PUBLISHED, Case, verify

QUICK = {name: EMBEDDED[name] for name in list(EMBEDDED)[:5]}  # without draws of NUTS and many fits


@pytest.mark.mcmc
def test_every_embedded_case_passes() -> None:
    found = verify()
    assert found.passed, found.table[found.table["verdict"] == "FAIL"].to_string()
    assert len(found.cases) == 17
    assert len(found.missing) == len(PUBLISHED)


def test_every_published_case_passes(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_module, "EMBEDDED", {})
    found = verify(shared_data)
    assert found.missing == ()
    assert len(found.cases) == 6
    assert found.passed, found.table.to_string()


@pytest.mark.parametrize("number", range(14))
def test_an_altered_number_of_any_oracle_fails_and_is_named(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a little more than the tolerance, whatever the case."""
    monkeypatch.setattr(verify_module, "EMBEDDED", QUICK)
    found = verify()
    assert len(found.cases) == 14
    case = found.cases[number]
    moved = replace(case, expected=case.expected + 2.1 * max(case.tolerance, 1e-9))
    cases = (*found.cases[:number], moved, *found.cases[number + 1 :])
    altered = replace(found, cases=cases)
    assert not altered.passed
    [failed] = altered.table.loc[altered.table["verdict"] == "FAIL", "case"]
    assert failed == case.name


def test_the_command_fails_loudly_and_names_the_case(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Case("a sum", "arithmetic", 4.0, 5.0, 0.1)
    monkeypatch.setattr(verify_module, "EMBEDDED", {"sums": lambda: iter([wrong])})
    answer = alliance("verify", "--format", "json")
    assert answer.code == 3
    assert "does not compute what it should: a sum." in answer.said
    assert json.loads(answer.stdout)[0]["verdict"] == "FAIL"
    assert "acupuncture_vickers2004.csv" in answer.said  # what was not checked, by name
    assert alliance("verify", "--data", "nowhere").code == 2
