"""`--at`: the alliance at which arms are compared, chosen and printed by every command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from command_line import alliance, csv_rows

from alliance.inference.estimands.compared_at import mean_alliance

if TYPE_CHECKING:  # PyMC is not loaded for tests that do without it
    from alliance.inference.runs.fit import Fit


@pytest.fixture(scope="module")
def run(made_fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from alliance.inference.runs.run_folder import save_fit

    path = tmp_path_factory.mktemp("at") / "run"
    save_fit(made_fit, path)
    return path


def printed(*arguments: object) -> str:
    answer = alliance(*arguments, width=120)
    assert answer.code == 0, answer.stderr
    return " ".join(answer.stdout.split())


@pytest.mark.parametrize("command", ["summary", "compare"])
def test_tables_say_where_the_arms_are_compared(run: Path, made_fit: Fit, command: str) -> None:
    mean = f"Arm contrasts at alliance {mean_alliance(made_fit['gpe']):.4g}, the mean of the"
    assert mean in printed(command, run)
    assert "Arm contrasts at alliance 90.5, as named." in printed(command, run, "--at", 90.5)


@pytest.mark.parametrize("command", ["summary", "compare"])
def test_machines_read_it_in_a_column(run: Path, made_fit: Fit, command: str) -> None:
    answer = alliance(command, run, "--at", "90.5", "--format", "csv")
    rows = csv_rows(answer.stdout)
    own = [row for row in rows if row["quantity"] == "arm_contrast"]
    assert own
    assert {float(row["at"]) for row in own} == {90.5}
    assert {row["at"] for row in rows if row["quantity"] == "interaction"} == {""}
    records = json.loads(alliance(command, run, "--format", "json").stdout)
    place = mean_alliance(made_fit["gpe"])
    (one,) = {
        row["at"]
        for row in records
        if row["outcome"] == "gpe" and row["quantity"] == "arm_contrast"
    }
    assert one == pytest.approx(place)


def test_the_number_is_that_of_the_effects_at_this_alliance(run: Path) -> None:
    """One run, two commands, one answer."""
    table = csv_rows(alliance("summary", run, "--at", "90", "--format", "csv").stdout)
    found = {
        (row["outcome"], row["level"]): float(row["mean"])
        for row in table
        if row["quantity"] == "arm_contrast"
    }
    effects = csv_rows(alliance("effects", run, "--alliance", "90", "--format", "csv").stdout)
    expected = {
        (row["outcome"], row["level"]): float(row["mean"])
        for row in effects
        if row["quantity"] == "arm_contrast" and float(row["moderator"]) == 90
    }
    assert expected.keys() == found.keys()
    np.testing.assert_allclose([found[key] for key in expected], list(expected.values()))


def test_priors_and_runs_beside_follow(run: Path) -> None:
    priors = pd.DataFrame(
        csv_rows(alliance("summary", run, "--priors", "--at", "105", "--format", "csv").stdout)
    )
    plain = pd.DataFrame(csv_rows(alliance("summary", run, "--priors", "--format", "csv").stdout))
    own = priors["quantity"] == "arm_contrast"
    assert (priors.loc[own, "scale"].astype(float) > plain.loc[own, "scale"].astype(float)).all()
    text = printed("summary", run, "--priors", "--at", 105)
    assert "Arm contrasts at alliance 105, as named." in text


def test_figures_and_the_report_say_it(run: Path, tmp_path: Path) -> None:
    for command in ("summary", "compare"):
        figure = tmp_path / f"{command}.svg"
        printed(command, run, "--at", 88, "--figure", figure)
        assert figure.stat().st_size > 0
    page = tmp_path / "report.html"
    answer = alliance("report", run, "--at", 88, "--out", page)
    assert answer.code in (0, 3), answer.stderr  # made-up draws need not pass the gate
    text = page.read_text(encoding="utf-8")
    for section in ("question", "results", "comparison", "model"):
        part = text.split(f'id="{section}"', 1)[1].split("<section", 1)[0]
        assert "at alliance 88, as named" in part, section


@pytest.mark.parametrize("command", ["summary", "compare", "report"])
def test_a_value_that_nobody_had_is_refused_or_marked(
    run: Path, command: str, tmp_path: Path
) -> None:
    answer = alliance(command, run, "--at", "17")
    assert answer.code == 2
    assert "17 lies outside what was observed" in answer.said
    assert "--extrapolate" in answer.said
    beyond = alliance(command, run, "--at", "1000", "--extrapolate")
    assert beyond.code == 2
    assert "there is no 1000 on its scale" in beyond.said
    if command != "report":
        assert "(extrapolated: ratings run from" in printed(
            command, run, "--at", 17, "--extrapolate"
        )
