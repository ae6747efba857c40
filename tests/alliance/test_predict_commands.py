"""The commands `predict` and `therapists`: answers for a machine and a person, and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from command_line import alliance, csv_rows, missing_from

if TYPE_CHECKING:  # PyMC is not loaded for tests that do without it
    from alliance.inference.runs.fit import Fit

FUNCTION = ("--outcome", "function")
PATIENTS = """\
patient,arm,therapist,wai_total,psfs_0,age,sex
P1,GE,X,90,10,50,F
P2,MCE,X,100,12,40,M
P3,SMT,Y,80,8,60,M
"""


@pytest.fixture(scope="module")
def fit() -> Fit:
    """Two outcomes with two covariates and random draws, therapists' effects included."""
    from dataclasses import replace

    from prediction_examples import example_fit

    from alliance.inference.runs.fit import installed_versions

    made = example_fit(covariates=("age", "sex"))
    manifest = {
        "seed": 3,
        "data": {"file": "trial.csv", "sha256": "0"},
        "profile": {"name": "ci", "chains": 2, "draws": 40, "tune": 10},
        "specifications": {name: spec.to_dict() for name, spec in made.specs.items()},
        "versions": installed_versions(),
    }
    trees = {name: tree.copy() for name, tree in made.trees.items()}
    for tree in trees.values():
        posterior = tree["posterior"].dataset
        tree["sample_stats"] = posterior[[]]
    return replace(made, manifest=manifest, trees=trees)


@pytest.fixture(scope="module")
def run(fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fit's run folder. Do not change it."""
    from alliance.inference.runs.run_folder import save_fit

    path = tmp_path_factory.mktemp("predict") / "run"
    save_fit(fit, path)
    return path


@pytest.fixture
def patients(tmp_path: Path) -> Path:
    path = tmp_path / "patients.csv"
    path.write_text(PATIENTS)
    return path


def same(printed: list[dict[str, str]], table: Any) -> bool:
    """Whether a printed table holds the same numbers and words."""
    assert len(printed) == len(table)
    for row, expected in zip(printed, table.to_dict("records"), strict=True):
        for name, value in expected.items():
            if isinstance(value, float):
                assert float(row[name] or "nan") == pytest.approx(value, rel=1e-12, nan_ok=True)
            else:
                assert row[name] == str(value), name
    return True


# Predictions for a machine ------------------------------------------------------------------------


def test_a_grid_for_a_machine_is_the_tidy_table(run: Path, fit: Fit) -> None:
    import pandas as pd

    from alliance.inference.answers.predictions import predict
    from alliance.inference.patients.asked_patients import patient_grid

    options = ("--alliance", "80:90:5", "--alliance", "95", "--covariate", "sex=F,M")
    answer = alliance("predict", run, *options, "--format", "csv")
    assert answer.code == 0, answer.stderr
    rows = csv_rows(answer.stdout)
    tables = [
        predict(
            fit[outcome],
            patient_grid(fit[outcome], alliance=[80, 85, 90, 95], covariates={"sex": ["F", "M"]}),
        ).table
        for outcome in fit.outcomes
    ]
    assert same(rows, pd.concat(tables, ignore_index=True))
    assert {row["data"] for row in rows} == {"SIMULATED"}
    assert {row["therapist"] for row in rows} == {"new"}


def test_contrasts_thresholds_and_the_seed_reach_the_table(run: Path, fit: Fit) -> None:
    from alliance.inference.answers.predictions import predict
    from alliance.inference.scores.thresholds import Thresholds

    options = ("--therapist", "average", "--seed", "8", "--better-by", "1", "--arm", "SMT")
    more = ("--arm", "GE", "--interval", "0.8", "--format", "json")
    answer = alliance("predict", run, *FUNCTION, *options, *more)
    rows = json.loads(answer.stdout)
    found = predict(
        fit["function"],
        therapist="average",
        arms=["GE", "SMT"],
        seed=8,
        contrasts=True,
        thresholds=Thresholds(better_by=1),
        interval=0.8,
    )
    assert found.contrasts is not None
    [expected] = found.contrasts.to_dict("records")
    [row] = rows
    assert row["contrast"] == "SMT-GE"
    for name, value in expected.items():
        told = row[name]
        assert told == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value)
    thresholds = ("--at-least", "15", "--at-most", "9", "--change", "3")
    answer = alliance("predict", run, *FUNCTION, *thresholds, "--format", "csv")
    for row in csv_rows(answer.stdout):
        assert (row["at_least"], row["at_most"], row["change"]) == ("15.0", "9.0", "3.0")
        for name in ("prob_at_least", "prob_at_most", "prob_change"):
            assert 0 < float(row[name]) < 1


def test_a_file_gives_its_patients_in_their_arms_and_may_be_crossed(
    run: Path, patients: Path
) -> None:
    options = ("--patients", patients, "--therapist", "new", "--format", "csv")
    rows = csv_rows(alliance("predict", run, *FUNCTION, *options).stdout)
    assert [(row["patient"], row["arm"]) for row in rows] == [
        ("P1", "GE"),
        ("P2", "MCE"),
        ("P3", "SMT"),
    ]
    assert [row["therapist"] for row in rows] == ["new (X)", "new (X)", "new (Y)"]
    crossed = csv_rows(alliance("predict", run, *FUNCTION, *options, "--contrasts").stdout)
    assert [row["contrast"] for row in crossed] == 3 * ["MCE-GE", "SMT-GE", "SMT-MCE"]
    replaced = csv_rows(alliance("predict", run, *FUNCTION, *options, "--alliance", "85").stdout)
    assert {row["moderator"] for row in replaced} == {"85.0"}
    refused = alliance("predict", run, *FUNCTION, "--patients", patients)
    assert refused.code == 2
    assert "no therapist 'X' in the run" in refused.said


@pytest.mark.parametrize("whom", ["trial", "rows"])
def test_averages_for_a_machine_are_the_tidy_table(whom: str, run: Path, fit: Fit) -> None:
    from alliance.inference.answers.averages import average
    from alliance.inference.patients.asked_patients import patient_grid, trial_patients

    grid = ("--baseline", "5,10,15") if whom == "rows" else ("--therapist", "known")
    options = ("--average-over", whom, "--alliance", "80,90", *grid, "--format", "csv")
    answer = alliance("predict", run, *FUNCTION, *options)
    assert answer.code == 0, answer.stderr
    if whom == "trial":
        asked = trial_patients(fit["function"], alliance=[80, 90])
        found = average(fit["function"], asked, therapist="known")
    else:
        asked = patient_grid(fit["function"], alliance=[80, 90], baseline=[5, 10, 15])
        found = average(fit["function"], asked)
    assert same(csv_rows(answer.stdout), found.table)
    compared = alliance("predict", run, *FUNCTION, *options, "--contrasts")
    assert same(csv_rows(compared.stdout), found.contrasts)


# For a person -------------------------------------------------------------------------------------


def test_predictions_say_for_whom_they_are(run: Path) -> None:
    options = ("--alliance", "20,90", "--extrapolate", "--contrasts", "--change", "3")
    answer = alliance("predict", run, *FUNCTION, *options, width=150)
    assert answer.code == 0, answer.stderr
    wanted = (
        "SIMULATED",
        "Patient-Specific Functional Scale",
        "a new therapist, drawn for each draw",
        "20*",
        "* Extrapolated, outside the range observed among the analysed patients: Working alliance "
        "(WATOCI total) (",
        "The same in all rows: baseline 1",
        "sex[M] 0.",
        "P(change +3)",
        "Motor control exercise minus General exercise",  # by their labels where there is room
        "the same residual rank",
        "95% equal-tailed intervals",
    )
    text = " ".join(answer.stdout.split())
    assert missing_from(text, wanted) == []
    assert "90*" not in text


def test_averages_say_over_whom_they_are(run: Path) -> None:
    answer = alliance("predict", run, "--outcome", "gpe", "--average-over", "trial", width=150)
    text = " ".join(answer.stdout.split())
    wanted = ("patients of the trial", "the mean over new therapists", "of their own", "own")
    assert missing_from(text, wanted) == []


def test_a_narrow_screen_shows_the_first_columns_and_names_the_others(run: Path) -> None:
    options = ("--change", "3", "--at-least", "15", "--contrasts", "--better-by", "1")
    answer = alliance("predict", run, *FUNCTION, *options, width=60)
    assert answer.code == 0
    assert max(map(len, answer.stdout.splitlines())) <= 60
    assert "No room here for:" in answer.stdout
    assert "Expected" in answer.stdout
    assert "…" not in answer.stdout


def test_the_caterpillar_table_has_a_line_for_each_therapist_best_first(
    run: Path, fit: Fit
) -> None:
    from alliance.inference.answers.therapists import therapists

    found = therapists(fit["function"]).table
    best_first = found.loc[found["quantity"] == "therapist_effect", "level"].tolist()
    answer = alliance("therapists", run, *FUNCTION, width=170)
    assert answer.code == 0, answer.stderr
    lines = answer.stdout.splitlines()
    printed = [line.split()[1] for line in lines if line.startswith("│ T0")]
    assert printed == best_first
    text = " ".join(answer.stdout.split())
    wanted = ("Share of the outcome's variance", "SD of the alliance between", "ratings", "Rank")
    assert missing_from(text, wanted) == []
    rows = csv_rows(alliance("therapists", run, *FUNCTION, "--format", "csv").stdout)
    assert same(rows, found)


def test_a_model_without_therapist_effects_says_so(tmp_path: Path, fit: Fit) -> None:
    from dataclasses import replace

    from prediction_examples import example_fit

    from alliance.inference.runs.run_folder import save_fit

    bare = example_fit(therapist="none")
    trees = {name: tree.copy() for name, tree in bare.trees.items()}
    for tree in trees.values():
        tree["sample_stats"] = tree["posterior"].dataset[[]]
    specifications = {name: spec.to_dict() for name, spec in bare.specs.items()}
    manifest = fit.manifest | {"specifications": specifications}
    save_fit(replace(bare, trees=trees, manifest=manifest), tmp_path / "run")
    answer = alliance("therapists", tmp_path / "run", "--outcome", "gpe", width=170)
    assert answer.code == 0
    assert "no therapist effects: only the alliance is described" in answer.said
    assert "Mean alliance" in answer.stdout


# Refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--outcome", "gp"), ("no outcome 'gp'", "'gpe'")),
        (("--arm", "XX"), ("no arm 'XX'", "'GE', 'MCE', 'SMT'")),
        (("--therapist", "nobody"), ("no therapist 'nobody'", "'T01'", "new or average")),
        (("--alliance", "90:80:5"), ("the grid is empty",)),
        (("--alliance", "ninety"), ("'ninety' is not a number",)),
        (("--alliance", "20"), ("20 lies outside", "--extrapolate")),
        (("--covariate", "age"), ("does not name a covariate and its values",)),
        (("--covariate", "age=40", "--covariate", "age=50"), ("age is given twice",)),
        (("--covariate", "agee=40"), ("no covariate 'agee'", "'age'")),
        (("--covariate", "sex=m"), ("no level 'm'", "'M'")),
        (("--at-least", "15"), ("in points of one outcome", "function, gpe")),
        (("--baseline", "5"), ("--baseline is in points of one outcome",)),
        (("--outcome", "gpe", "--baseline", "5"), ("gpe has no baseline", "function")),
        (("--outcome", "gpe", "--at-least", "9"), ("at least 9", "from -5 to 5")),
        (("--interval", "95"), ("95 is not between 0 and 1",)),
        (("--average-over", "trial", "--covariate", "age=4"), ("--average-over trial",)),
        (("--average-over", "rows", "--therapist", "own"), ("without therapists of their own",)),
        (("--patients", "nowhere.csv"), ("no data file 'nowhere.csv'",)),
    ],
)
def test_bad_queries_end_with_2_and_the_valid_values(
    options: tuple[str, ...], said: tuple[str, ...], run: Path
) -> None:
    answer = alliance("predict", run, *options)
    assert answer.code == 2
    assert answer.stdout == ""
    assert missing_from(answer.said, said) == []


def test_a_file_without_a_column_or_with_a_bad_cell_ends_with_2(run: Path, patients: Path) -> None:
    patients.write_text(PATIENTS.replace("psfs_0", "psfs"))
    answer = alliance("predict", run, *FUNCTION, "--patients", patients)
    assert answer.code == 2
    assert missing_from(answer.said, ("psfs_0", "the column is not in the file")) == []
    patients.write_text(PATIENTS.replace("100,12", "20,12"))
    answer = alliance("predict", run, *FUNCTION, "--patients", patients)
    assert answer.code == 2
    assert missing_from(answer.said, ("wai_total", "20", "lies outside what was observed")) == []
    marked = ("--patients", patients, "--extrapolate", "--therapist", "new", "--format", "csv")
    rows = csv_rows(alliance("predict", run, *FUNCTION, *marked).stdout)
    assert [row["extrapolated"] for row in rows] == ["False", "True", "False"]
    refused = alliance("predict", run, *FUNCTION, "--patients", patients, "--baseline", "5")
    assert "these patients bring their own" in refused.said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--outcome", "gp"), ("no outcome 'gp'", "'gpe'")),
        (("--alliance", "20"), ("20 lies outside", "--extrapolate")),
        (("--interval", "0"), ("0 is not between 0 and 1",)),
    ],
)
def test_bad_questions_about_therapists_end_with_2(
    options: tuple[str, ...], said: tuple[str, ...], run: Path
) -> None:
    answer = alliance("therapists", run, *options)
    assert answer.code == 2
    assert missing_from(answer.said, said) == []
