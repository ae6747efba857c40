"""Short keys for categories and missing codes, levels of reference, and numbers asked about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_trial import a_frame, a_study, problem_of

from alliance.data_prep.covariates import covariates_of
from alliance.data_prep.errors import InputError
from alliance.data_prep.registry.registry import load_registry
from alliance.data_prep.study.description import Study, read_study, study_text
from alliance.data_prep.tables.cells import numbers_of, parse_numbers, spelled
from alliance.data_prep.tables.readers import read_table
from alliance.data_prep.trial.trial import Trial, load_trial, trial_from_frame

SITES = {1: "Zug", 2: "Bern", 3: "Genf"}  # in no order of the alphabet


def sites(count: int = 60) -> pd.DataFrame:
    frame = a_frame(count)
    return frame.assign(site=np.tile([1.0, 2.0, 3.0], count)[:count])


def written(path: Path, lines: str) -> Path:
    """A study file with lines above its first table."""
    path.write_text(f"{lines}\n{study_text(a_study())}", encoding="utf-8")
    return path


def names(trial: Trial) -> list[str]:
    return [str(name) for name in trial.data["covariate"].values]


# Keys ---------------------------------------------------------------------------------------------


def test_short_keys_say_what_the_tables_say(tmp_path: Path) -> None:
    lines = (
        'covariates = ["age", "site", "sex"]\ncontinuous = ["age"]\ncategorical = ["site"]\n'
        'reference = { sex = "M", site = 2 }\nmissing = [-99, 999]\n'
        'labels = { age = "Age (years)" }'
    )
    study = read_study(written(tmp_path / "study.toml", lines))
    kinds = {"age": "continuous", "site": "categorical", "sex": "categorical"}
    assert study.covariate_kinds == kinds
    assert study.reference == {"sex": "M", "site": "2"}
    assert study.missing_values == {"*": ("-99", "999")}
    assert study.labels == {"age": "Age (years)"}
    again = tmp_path / "again.toml"
    again.write_text(study_text(study), encoding="utf-8")
    assert read_study(again) == study


def test_short_keys_below_the_moderator_are_understood(tmp_path: Path) -> None:
    text = study_text(a_study()).replace(
        "[moderator]",
        '[moderator]\ncovariates = ["sex"]\ncategorical = ["sex"]\nmissing = [-9]',
    )
    path = tmp_path / "study.toml"
    path.write_text(text, encoding="utf-8")
    study = read_study(path)
    assert (study.covariates, study.covariate_kinds) == (("sex",), {"sex": "categorical"})
    assert study.missing_values == {"*": ("-9",)}


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('covariates = ["age"]\ncategorical = "age"', "categorical: is 'age', not a list"),
        ('covariates = ["age"]\ncategorical = ["agee"]', "'agee' is not among the covariates"),
        ('categorical = ["age"]', "A column to adjust for stands in `covariates` too."),
        ('covariates = ["a"]\ncategorical = ["a"]\ncontinuous = ["a"]', "is given two kinds"),
        (
            'covariates = ["a"]\ncontinuous = ["a"]\nreference = { a = 1 }',
            "reference.a: a continuous covariate has no levels",
        ),
        ('covariates = ["age"]\nlabels = { agee = "Age" }', "labels.agee: is not among"),
        ('covariates = ["age"]\nlabels = { age = " " }', "labels.age"),
        ("missing = -99", "missing: is -99, not a list"),
        ("missing = [true]", "missing, entry 1: is neither a number nor text"),
        ("missin = [9]", "Did you mean 'missing'"),
    ],
)
def test_short_keys_that_say_nothing_are_refused(tmp_path: Path, lines: str, told: str) -> None:
    with pytest.raises(InputError) as refused:
        read_study(written(tmp_path / "study.toml", lines))
    assert told in str(refused.value)


# One trial in every format ------------------------------------------------------------------------


def labelled_files(folder: Path, frame: pd.DataFrame) -> dict[str, Path]:
    """A trial with numbers for arms and sites, in four formats; two of them with labels."""
    pyreadstat = pytest.importorskip("pyreadstat")
    arms = {1: "SMT", 2: "GE"}
    coded = frame.assign(arm=frame["arm"].map({label: code for code, label in arms.items()}))
    labels = {"site": SITES, "arm": arms}
    paths = {ending: folder / f"trial.{ending}" for ending in ("dta", "sav", "csv", "parquet")}
    coded.to_stata(paths["dta"], write_index=False, value_labels=labels, version=118)
    pyreadstat.write_sav(coded, str(paths["sav"]), variable_value_labels=labels)
    frame.to_csv(paths["csv"], index=False)
    frame.to_parquet(paths["parquet"], index=False)
    return paths


def test_every_format_of_one_trial_gives_one_model(tmp_path: Path) -> None:
    """Also where the labelled ones hold numbers for the arms that the study calls SMT and GE."""
    frame = sites()
    study = a_study(covariates=["age", "site"], categorical=["site"])
    trials = {
        ending: load_trial(study, path) for ending, path in labelled_files(tmp_path, frame).items()
    }
    expected = trials["csv"]
    assert names(expected) == ["age", "site[2]", "site[3]"]
    plain = np.column_stack([frame["age"], frame["site"] == 2, frame["site"] == 3])
    np.testing.assert_array_equal(expected.data["covariates"], plain)
    for ending, trial in trials.items():
        assert trial.data.identical(expected.data), ending
        assert trial.flow.equals(expected.flow)


def test_labels_in_the_place_of_codes_name_the_arms() -> None:
    frame = a_frame()
    told = frame.assign(arm=frame["arm"].map({"GE": "Exercise", "SMT": "Manipulation"}))
    one, other = trial_from_frame(a_study(), told), trial_from_frame(a_study(), frame)
    assert one.data.identical(other.data)


@pytest.mark.parametrize("named", [2, "Bern"])
def test_the_reference_is_a_code_or_a_label_of_the_file(tmp_path: Path, named: object) -> None:
    paths = labelled_files(tmp_path, sites())
    study = a_study(covariates=["site"], reference={"site": named})
    for ending in ("dta", "sav"):
        trial = load_trial(study, paths[ending])
        assert [each.levels for each in covariates_of(trial.data)] == [("2", "1", "3")]
        assert names(trial) == ["site[1]", "site[3]"]


def test_the_reference_of_many_files_is_that_of_one(tmp_path: Path) -> None:
    pytest.importorskip("dask")
    frame, study = sites(), a_study(covariates=["site"], reference={"site": 3})
    frame.iloc[:25].to_csv(tmp_path / "a.csv", index=False)
    frame.iloc[25:].to_csv(tmp_path / "b.csv", index=False)
    whole = trial_from_frame(study, frame)
    assert load_registry(study, tmp_path).covariates == covariates_of(whole.data)


def test_a_reference_that_no_row_has_is_refused() -> None:
    study = a_study(covariates=["sex"], reference={"sex": "female"})
    column, rule, remedy = problem_of(a_frame(), study)
    assert (column, remedy) == ("sex", "Valid names: 'F', 'M'.")
    assert rule == "no row has 'female', which `reference` in the study file names"


# Notes --------------------------------------------------------------------------------------------


def notes_of(study: Study, frame: pd.DataFrame, part: str) -> list[str]:
    return [note for note in trial_from_frame(study, frame).notes if part in note]


def test_no_code_becomes_a_slope_without_a_word() -> None:
    """Up to twenty codes by their number, more of them by the name of the column."""
    frame = a_frame(120)
    for number in (3, 7, 12, 20):
        random = np.random.default_rng(number)
        coded = frame.assign(unit=random.permutation(np.resize(np.arange(1.0, number + 1), 120)))
        [note] = notes_of(a_study(covariates=["unit"]), coded, "unit has")
        assert f"unit has {number} different values" in note
        for kind in ("categorical", "continuous"):
            assert f'`{kind} = ["unit"]`' in note
            declared = a_study(covariates=["unit"], **{kind: ["unit"]})
            assert notes_of(declared, coded, "unit has") == []
    many = np.tile(np.arange(1.0, 41), 3)
    assert "by its name it holds codes" in "".join(
        notes_of(a_study(covariates=["site_id"]), frame.assign(site_id=many), "site_id is taken")
    )
    assert notes_of(a_study(covariates=["score"]), frame.assign(score=many), "score") == []
    assert notes_of(a_study(covariates=["age"]), a_frame(24), "age") == []


def test_a_level_of_one_patient_is_noted() -> None:
    frame, study = a_frame(), a_study(covariates=["sex"])
    frame.loc[5, "sex"] = "X"
    notes = notes_of(study, frame, "'X'")
    assert len(notes) == 2  # one for each outcome
    assert "one analysed patient alone has the sex 'X': its coefficient rests on" in notes[0]
    first = notes_of(a_study(covariates=["sex"], reference={"sex": "X"}), frame, "'X'")
    assert "with which the others are compared: name another level in `reference`" in first[0]
    frame.loc[5, "psfs_8"] = np.nan  # now nobody who is analysed, for one of the outcomes
    notes = notes_of(study, frame, "'X'")
    assert "no analysed patient has the sex 'X'" in notes[0]
    assert "one analysed patient alone" in notes[1]


# Sentinels ----------------------------------------------------------------------------------------


def clean(random: np.random.Generator, kind: str) -> np.ndarray:
    count = 180
    made = {
        "age": lambda: random.normal(45, 13, count).clip(18, 80).round(),
        "years": lambda: random.integers(8, 21, count),
        "answer": lambda: random.integers(1, 6, count),
        "score": lambda: random.normal(24, 6, count).clip(0, 52).round(),
        "bmi": lambda: random.normal(27, 4, count).round(1),
        "z": lambda: random.normal(0, 1, count).round(2),
        "days": lambda: random.lognormal(2, 1, count).round(1),
        "sex": lambda: random.integers(1, 3, count),
    }
    return made[kind]().astype(float)


PLANTED = [
    ("age", [999]), ("age", [-99]), ("age", [-9]), ("age", [99, 99]), ("age", [998, 999]),
    ("age", [450]), ("years", [99]), ("years", [97]), ("years", [-1, -1]), ("years", [88]),
    ("answer", [9]), ("answer", [-9]), ("answer", [99]), ("answer", [9, 9, 99]),
    ("score", [999]), ("score", [-8]), ("bmi", [99.9]), ("bmi", [-999]), ("z", [-99]),
    ("z", [9.99, 9.99]), ("days", [9999]), ("sex", [9]), ("sex", [9, 99]), ("bmi", [270.5]),
]  # fmt: skip


def test_planted_sentinels_are_found() -> None:
    """Known codes, and numbers that no measurement of the kind can have."""
    random = np.random.default_rng(11)
    for kind, codes in PLANTED:
        values = np.concatenate([clean(random, kind), np.array(codes, dtype=float)])
        assert numbers_of(values).apart() == sorted(set(codes)), (kind, codes)
    assert len(PLANTED) >= 20


@pytest.mark.parametrize("kind", ["age", "years", "answer", "score", "bmi", "z", "sex"])
def test_clean_columns_are_not_accused(kind: str) -> None:
    random = np.random.default_rng(5)
    assert [numbers_of(clean(random, kind)).apart() for _ in range(100)] == [[]] * 100


def test_of_skewed_columns_few_are_asked_about() -> None:
    """A lognormal column of SD 1 on the log scale: its farthest is far in one of a hundred."""
    random = np.random.default_rng(5)
    asked = sum(bool(numbers_of(clean(random, "days")).apart()) for _ in range(300))
    assert asked <= 9  # 3 expected; 9 and more have a probability under 1%


def test_no_column_of_real_trials_is_accused(shared_data: Path) -> None:
    """But for 999, under which the antidepressant trial pools its small sites."""
    accused = []
    for path in sorted(shared_data.glob("*.csv")):
        frame = read_table(path).frame
        for column in frame.columns:
            values, wrong = parse_numbers(frame[column])
            if not wrong.any() and (apart := numbers_of(values).apart()):
                accused.append((column, apart))
    assert accused == [("POOLINV", [999.0])]


def test_sentinels_of_every_part_are_named_by_row_and_declared_away() -> None:
    frame, study = a_frame(60), a_study(covariates=["age"])
    wide = study.model_dump() | {"missing_values": {}}
    wide["moderator"]["range"] = [-100, 1000]
    for outcome in wide["outcomes"].values():
        outcome["range"] = [-100, 1000]
    planted = {"age": (999, 9), "wai": (-99, 14), "psfs_0": (999, 21), "psfs_8": (-9, 30)}
    for column, (code, row) in planted.items():
        frame.loc[row, column] = code
    trial = trial_from_frame(Study.model_validate(wide), frame)
    for column, (code, row) in planted.items():
        [note] = [note for note in trial.notes if f"Column {column!r}" in note]
        assert f"'{code}' (row {row}) stands apart from the other values" in note
        assert f"{column} = [{code}] under [missing_values]" in note
    trial = trial_from_frame(Study.model_validate(wide | {"missing": [999, -99, -9]}), frame)
    assert not any("apart" in note for note in trial.notes)
    assert np.isnan(trial.data["moderator"]).sum() == 1


def test_ends_of_many_numbers_are_those_of_all() -> None:
    """The quick way, which looks at the ends alone, against counting everything."""
    random = np.random.default_rng(3)
    for values in (random.normal(size=50_000), random.integers(0, 60, 50_000).astype(float)):
        values[:3] = 999, 999, -99
        quick = numbers_of(values)
        parts = [numbers_of(part) for part in np.array_split(values, 5)]
        assert sum(parts[1:], parts[0]) == quick
        assert quick.apart() == [-99, 999]


def test_numbers_are_spelled_as_people_write_them() -> None:
    assert [spelled(number) for number in (-99.0, 9_999_999.0, 99.9)] == ["-99", "9999999", "99.9"]


# Labels in questions ------------------------------------------------------------------------------


def test_a_level_can_be_asked_about_by_its_label(tmp_path: Path) -> None:
    """The run keeps the labels; patients of a table and of a question may bear either."""
    from alliance.inference.runs.fitting import fit_trial
    from alliance.inference.runs.run_folder import load_fit, save_fit
    from alliance.inference.sampling.profiles import SamplerProfile

    path = labelled_files(tmp_path, sites())["dta"]
    study = a_study(covariates=["age", "site"])
    made = fit_trial(
        load_trial(study, path), SamplerProfile("ci", 2, 100, 100), seed=1, engine="instant"
    )
    save_fit(made, tmp_path / "run")
    for fit in (made, load_fit(tmp_path / "run")):
        encoding = fit.design("function").encoding
        np.testing.assert_array_equal(
            encoding.encoded("site", ["Bern", "Zug"]), encoding.encoded("site", ["2", "1"])
        )
        with pytest.raises(InputError, match=r"no level 'Basel'.*'1' \(Zug\), '2' \(Bern\)"):
            encoding.encoded("site", ["Basel"])
        with pytest.raises(InputError, match="Did you mean 'Bern'"):
            encoding.encoded("site", ["bern"])
