"""Small inputs from other people's bug reports, put to the command line: each has its answer.

They lie beside the repository (../shared/cases) and are skipped elsewhere; tests of the whole
kinds, with inputs of their own, stand with what they test.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import Answer, alliance, csv_rows, missing_from, running_text

pytestmark = pytest.mark.validation


@pytest.fixture
def case(
    request: pytest.FixtureRequest,
    shared_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A copy of the folder that the test's name ends with, where it is worked in."""
    name = request.node.originalname.removeprefix("test_")
    found = shared_data.parent / "cases" / name
    if not found.is_dir():
        pytest.skip("the folder of cases is not here")
    folder = tmp_path / name
    shutil.copytree(found, folder)
    monkeypatch.chdir(folder)
    return folder


def fitted(study: str, data: str, out: str = "r") -> None:
    answer = alliance("fit", study, data, "--out", out, "--engine", "instant")
    assert answer.code == 0, answer.stderr


def told(answer: Answer, *words: str, code: int = 0) -> None:
    assert answer.code == code, answer.stdout + answer.stderr
    said = running_text(answer.stdout) + " " + answer.said
    assert missing_from(said, words) == []


def test_level_as_reference(case: Path) -> None:
    fitted("base.toml", "base.csv")
    levels = ("Valid levels: 'female', 'male'",)
    told(alliance("predict", "r", "--covariate", "sex=Male"), "'Male'", *levels, code=2)
    told(alliance("predict", "r", "--patients", "new.csv"), "'Diverse'", *levels, code=2)
    asked = ("predict", "r", "--format", "csv", "--covariate")
    by_sex = [
        float(csv_rows(alliance(*asked, f"sex={level}").stdout)[0]["expected"])
        for level in ("female", "male")
    ]
    assert by_sex == pytest.approx([18.7, 19.8], abs=0.1)


def test_reml_not_optimum(case: Path) -> None:
    """lme4's figures; statsmodels had an interaction of .666 and a therapist SD of .008."""
    fitted("s.toml", "a.csv")
    rows = csv_rows(alliance("compare", "r", "--format", "csv").stdout)
    reml = {(row["quantity"], row["level"]): (row["reml_estimate"], row["reml_se"]) for row in rows}
    for label, expected in {
        ("interaction", "TAU-CBT"): (0.6327, 0.1959),
        ("moderator_slope", "average"): (0.2274, 0.1077),
        ("arm_contrast", "TAU-CBT"): (0.9091, 0.7813),
    }.items():
        np.testing.assert_allclose([float(value) for value in reml[label]], expected, atol=1e-4)
    sds = [
        float(reml[f"{name}_sd", ""][0]) for name in ("therapist", "therapist_slope", "residual")
    ]
    np.testing.assert_allclose(sds, [0.4832, 0.1961, 4.1185], atol=1e-4)
    assert all("singular" in row["refit_note"] for row in rows)


def test_sentinel_in_covariate(case: Path) -> None:
    told(alliance("check", "base.toml", "cov999.csv"), "'999' (rows 5, 12, 22)", "'-99' (rows")
    told(
        alliance("check", "base.toml", "dots.csv"),
        "'.' (rows 7, 32, 43) counts as a therapist",
        "[missing_values]",
    )


def test_bracket_names(case: Path) -> None:
    fitted("prefix.toml", "col.csv")
    told(alliance("predict", "r"), "dose[low]", "dose[mg]")


def test_dollar_in_label(case: Path) -> None:
    fitted("two.toml", "base.csv")
    told(alliance("effects", "r", "--figure", "e.svg"), "Costs in $ (at 2020 $ prices)")
    assert (case / "e.svg").stat().st_size > 0


def test_empty_level(case: Path) -> None:
    told(alliance("check", "lv_site.toml", "lv_unan.csv"), "no analysed patient has the site 'Zug'")


def test_numeric_category(case: Path) -> None:
    """Five sites as levels: by least squares the contrast is 2.08 (.61), with one slope 2.50."""
    fitted("num.toml", "site.sav")
    rows = csv_rows(alliance("compare", "r", "--format", "csv").stdout)
    (contrast,) = (row for row in rows if row["quantity"] == "arm_contrast")
    found = [float(contrast[name]) for name in ("ols_main_estimate", "ols_main_se")]
    assert found == pytest.approx([2.08, 0.61], abs=0.01)


def test_partially_nested(case: Path) -> None:
    """The column, how many lack it, and the line to write; with it the trial is fitted."""
    answer = alliance("check", "pn.toml", "pn_blank.csv")
    told(answer, "ther", "none of its 61 patients", 'without_therapist = ["TAU"]', code=2)
    quick = ("--engine", "instant", "--profile", "ci", "--without-therapist", "TAU")
    answer = alliance("fit", "pn.toml", "pn_blank.csv", *quick, "--out", "r")
    assert answer.code in (0, 3), answer.stderr
    levels = alliance("summary", "r", "--format", "csv").stdout
    assert "residual_sd,TAU" in levels


def test_perfect_fit(case: Path) -> None:
    told(
        alliance("fit", "pf.toml", "copy.csv", "--out", "r"),
        "can be computed from baseline (pre)",
        code=2,
    )
    assert not (case / "r").exists()


def test_first_sheet(case: Path) -> None:
    told(
        alliance("check", "base.toml", "two.xlsx"),
        "'Codebook' was read",
        "'Data' has all of them",
        code=2,
    )
    told(alliance("check", "base.toml", "two.xlsx#Data"))


def test_merged_cells(case: Path) -> None:
    told(alliance("check", "base.toml", "mergedther.xlsx"), "cells B2:B15 are merged", code=2)


def test_first_lines(case: Path) -> None:
    told(alliance("check", "base.toml", "sepline.csv"), "'sep='", "Delete row 1", code=2)
    told(alliance("check", "base.toml", "titlerow.csv"), "it is a title", code=2)


def test_alliance_digits(case: Path) -> None:
    fitted("sc_modfrac.toml", "sc_modfrac.csv")
    told(alliance("therapists", "r"), "0.1303", "0.1169 to 0.1472")


def test_compare_width(case: Path) -> None:
    fitted("sc_milli.toml", "sc_milli.csv")
    answer = alliance("compare", "r", width=155)
    told(answer, "moderator slope", "Treatment as usual minus Cognitive behavioural therapy")
    assert "…" not in answer.stdout
    assert max(map(len, answer.stdout.splitlines())) <= 155


def test_next_hint_registry(case: Path) -> None:
    answer = alliance("fit", "base.toml", "reg_ok/*.csv", "--out", "r r", "--engine", "instant")
    told(answer, "`alliance summary 'r r'`")
    assert "alliance diagnose" not in answer.stdout  # which has no rows to judge
    for command in ("summary", "compare"):
        assert alliance(command, "r r").code == 0


def test_ppc_tiny_units(case: Path) -> None:
    found = []
    for unit in ("one", "nano"):
        fitted(f"sc_{unit}.toml", f"sc_{unit}.csv", unit)
        rows = csv_rows(alliance("ppc", unit, "--format", "csv").stdout)
        found.append([row["p_value"] for row in rows])
    assert found[0] == found[1]


def test_registry_duplicates(case: Path) -> None:
    answer = alliance("check", "base.toml", "reg_dup/*.csv")
    told(answer, "part3.csv", "Row 3 of part0.csv has the same patient", code=2)


def test_covariate_out_of_range(case: Path) -> None:
    fitted("base.toml", "base.csv")
    told(alliance("predict", "r", "--covariate", "age=999"), "8 to 78", code=2)
    marked = alliance("predict", "r", "--covariate", "age=999", "--extrapolate", "--format", "csv")
    assert {row["extrapolated"] for row in csv_rows(marked.stdout)} == {"True"}


def test_level_with_comma(case: Path) -> None:
    fitted("lab.toml", "lab.csv")
    told(alliance("predict", "r", "--covariate", "sex=w, weiblich"), "sex[w, weiblich] 1")


def test_spelling_of_codes(case: Path) -> None:
    told(alliance("check", "base.toml", "case_ids.csv"), "spelled apart", "'T9' and 't9'")
    told(alliance("check", "base.toml", "nfd.csv"), "spelled apart", "accents within letters")


def test_items_not_reversed(case: Path) -> None:
    told(alliance("check", "it_norev.toml", "items.csv"), "'i3', 'i6' and 'i9' run against")
    assert "run against" not in alliance("check", "it_ok.toml", "items.csv").stdout
