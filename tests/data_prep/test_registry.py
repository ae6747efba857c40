"""A trial in many files: the same moments, counts and messages as in one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alliance.data_prep.cell_moments import cell_moments, merged
from alliance.data_prep.errors import DataError, InputError
from alliance.data_prep.registry.registry import (
    Registry,
    is_registry,
    load_registry,
    registry_files,
    sample_therapists,
)
from alliance.data_prep.simulator.simulation import simulate_trial
from alliance.data_prep.study.description import Study, narrowed
from alliance.data_prep.trial.trial import Trial, trial_from_frame
from alliance.models.design.design import Design, build_design, moments_design
from alliance.models.spec import specify

ROWS = 600


@pytest.fixture(scope="module")
def whole() -> tuple[Study, pd.DataFrame]:
    """A trial with a category, one level of which stands in the last rows alone."""
    made = simulate_trial(seed=3, patients=ROWS, therapists=15)
    random = np.random.default_rng(3)
    region = np.where(np.arange(ROWS) < 500, random.choice(["east", "west"], ROWS), "north")
    region = np.where(random.random(ROWS) < 0.02, None, region)
    study = made.study.model_copy(update={"covariates": ("age", "region")})
    return study, made.frame.assign(region=region)


def write_parts(frame: pd.DataFrame, folder: Path, parts: int, kind: str = "parquet") -> Path:
    """Files of as many rows each, and one without rows."""
    folder.mkdir()
    places = [*np.array_split(np.arange(len(frame)), parts), np.arange(0)]
    for k, rows in enumerate(places):
        some = frame.iloc[rows]
        if kind == "parquet":
            some.to_parquet(folder / f"part{k:02}.parquet", index=False)
        else:
            some.to_csv(folder / f"part{k:02}.csv", index=False)
    return folder


def apart(one: Design, other: Design) -> float:
    """Largest difference of two designs' cross-products, relative to their columns' lengths."""
    first, second = one.moments.cross_products, other.moments.cross_products
    length = np.sqrt(np.einsum("jaa->ja", first))
    scale = length[:, :, None] * length[:, None, :]
    return float(np.max(np.abs(first - second) / np.where(scale > 0, scale, 1)))


def assert_same(trial: Trial, registry: Registry) -> None:
    pd.testing.assert_frame_equal(trial.flow, registry.flow)
    assert trial.therapists_in_arms == registry.therapists_in_arms
    assert registry.notes == trial.notes
    for name, spec in specify(trial.study).items():
        one = build_design(trial.analysed(name), spec)
        other = moments_design(
            registry.moments[name], spec, list(trial.study.arms), registry.covariates
        )
        for fact in ("coefficients", "therapists", "covariates", "has_baseline", "effects"):
            assert getattr(one, fact) == getattr(other, fact)
        np.testing.assert_array_equal(one.moments.count, other.moments.count)
        assert apart(one, other) < 1e-10
        for kind in ("outcome", "moderator", "baseline"):
            mine, theirs = getattr(one.scaling, kind), getattr(other.scaling, kind)
            assert theirs == pytest.approx(mine, rel=1e-12)
        assert np.allclose(one.scaling.covariates, other.scaling.covariates, rtol=1e-12)


@pytest.mark.parametrize("empty", [("east",), ("north",), ("west",)])
def test_levels_without_analysed_patients_are_left_out_in_many_files_too(
    whole: tuple[Study, pd.DataFrame], tmp_path: Path, empty: tuple[str, ...]
) -> None:
    """The first of them is the reference: the next one that patients have takes its place."""
    study, frame = whole
    frame = frame.copy()
    frame.loc[frame["region"].isin(empty), "vas_8w"] = np.nan
    registry = load_registry(study, write_parts(frame, tmp_path / "r", 5))
    assert_same(trial_from_frame(study, frame), registry)
    assert sum("Outcome 'pain': no analysed patient" in note for note in registry.notes) == 1


def test_an_outcome_that_is_computed_is_refused_in_many_files_too(
    whole: tuple[Study, pd.DataFrame], tmp_path: Path
) -> None:
    study, frame = whole
    copied = frame.assign(vas_8w=frame["vas_0"])
    with pytest.raises(DataError, match=r"it can be computed from baseline \(vas_0\), so that"):
        load_registry(study, write_parts(copied, tmp_path / "r", 5))


@pytest.mark.parametrize("parts", [1, 7, 50])
def test_moments_of_many_files_are_those_of_one(
    whole: tuple[Study, pd.DataFrame], tmp_path: Path, parts: int
) -> None:
    """Therapists in every file, a level in the last ones only, and a file without rows."""
    study, frame = whole
    registry = load_registry(study, write_parts(frame, tmp_path / "r", parts))
    assert len(registry.files) == parts + 1
    assert_same(trial_from_frame(study, frame), registry)


def test_text_files_say_the_same(whole: tuple[Study, pd.DataFrame], tmp_path: Path) -> None:
    study, frame = whole
    folder = write_parts(frame, tmp_path / "r", 5, "csv")
    assert_same(trial_from_frame(study, frame), load_registry(study, folder / "*.csv"))


def test_cells_that_need_care_are_read_with_care(
    whole: tuple[Study, pd.DataFrame], tmp_path: Path
) -> None:
    """Text where numbers are expected, and ids in other spellings."""
    study, frame = whole
    column = study.columns.therapist
    spelled = frame.assign(
        **{
            study.moderator.column or "": frame[study.moderator.column].map(
                lambda value: None if pd.isna(value) else f" {value} "
            ),
            column: frame[column] + " ",
        }
    )
    registry = load_registry(study, write_parts(spelled, tmp_path / "r", 3))
    assert_same(trial_from_frame(study, frame), registry)


def test_a_far_away_centre_costs_no_digits(whole: tuple[Study, pd.DataFrame]) -> None:
    """Ages a million SDs from zero: differences of squares would have lost all twelve digits."""
    random = np.random.default_rng(1)
    values = 1e6 + random.standard_normal((2, 900))
    therapist, arm = random.integers(9, size=900), random.integers(2, size=900)
    names = [f"T{j}" for j in range(9)]
    once = cell_moments(["a", "b"], values, names, therapist, arm)
    pieces = [
        cell_moments(["a", "b"], values[:, rows], names, therapist[rows], arm[rows])
        for rows in np.array_split(np.arange(900), 13)
    ]
    together = merged(pieces)
    assert together.centre == pytest.approx(values.mean(axis=1), rel=1e-15)
    spread = np.einsum("cqq->q", together.products) / 899
    np.testing.assert_allclose(spread, values.var(axis=1, ddof=1), rtol=1e-8)
    assert together.n == once.n == 900
    again = together.moved(["a", "b"], once.centre)
    therapists = [int(again.therapists[j][1:]) for j in again.therapist_index]
    order = np.lexsort((again.arm_index, therapists))
    np.testing.assert_allclose(again.products[order], once.products, rtol=1e-8)


def test_problems_of_all_files_come_back_together(
    whole: tuple[Study, pd.DataFrame], tmp_path: Path
) -> None:
    study, frame = whole
    folder = write_parts(frame, tmp_path / "r", 4)
    second = pd.read_parquet(folder / "part01.parquet")
    second.loc[3, "vas_8w"] = 11
    second.to_parquet(folder / "part01.parquet", index=False)
    third = pd.read_parquet(folder / "part02.parquet").rename(columns={"wai_total": "wai"})
    third.to_parquet(folder / "part02.parquet", index=False)
    with pytest.raises(DataError) as raised:
        load_registry(study, folder)
    found = {(one.file, one.row, one.column, one.value) for one in raised.value.problems}
    assert found == {
        ("part01.parquet", 5, "vas_8w", "11"),
        ("part02.parquet", None, "wai_total", None),
    }


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda frame: frame.assign(arm="XX"), "this arm is not in the study file"),
        (lambda frame: frame.assign(patient="P1"), "a patient appears more than once"),
        (lambda frame: frame.assign(vas_0=np.inf), "must be"),
    ],
)
def test_a_file_that_does_not_fit_the_others_is_refused(
    whole: tuple[Study, pd.DataFrame], tmp_path: Path, change: object, told: str
) -> None:
    study, frame = whole
    folder = write_parts(frame, tmp_path / "r", 3)
    part = pd.read_parquet(folder / "part01.parquet")
    change(part).to_parquet(folder / "part01.parquet", index=False)
    with pytest.raises(DataError, match=told):
        load_registry(study, folder)


def test_columns_without_spread_and_empty_arms_are_refused(
    whole: tuple[Study, pd.DataFrame], tmp_path: Path
) -> None:
    study, frame = whole
    constant = write_parts(frame.assign(wai_total=80), tmp_path / "c", 3)
    with pytest.raises(DataError, match="the alliance is 80 for every analysed patient"):
        load_registry(study, constant)
    one = write_parts(frame[frame["arm"] != "SMT"], tmp_path / "a", 3)
    with pytest.raises(DataError, match="no row has the arm 'SMT'"):
        load_registry(study, one)
    twice = study.model_copy(update={"covariates": ("age", "months")})
    folder = write_parts(frame.assign(months=12 * frame["age"]), tmp_path / "t", 3)
    with pytest.raises(DataError, match="each of these follows from the others: age, months"):
        load_registry(twice, folder)


def test_models_that_need_rows_are_refused(whole: tuple[Study, pd.DataFrame]) -> None:
    study, _ = whole
    for settings in ({"missing_alliance": "impute"}, {"likelihood": "native"}, {"joint": True}):
        with pytest.raises(InputError, match="needs the rows of all patients"):
            load_registry(narrowed(study, **settings), Path("nowhere"))


def test_which_paths_are_many_files(tmp_path: Path) -> None:
    (tmp_path / "a*.csv").write_text("x\n1\n")
    assert not is_registry(tmp_path / "a*.csv")  # a file that has such a name
    assert is_registry(tmp_path)
    assert is_registry(tmp_path / "*.parquet")
    assert not is_registry(tmp_path / "trial.csv")
    with pytest.raises(InputError, match="There are no files"):
        registry_files(tmp_path / "*.parquet")
    (tmp_path / "b.ods").write_text("x")
    with pytest.raises(InputError, match=r"b\.ods.*ending is not known"):
        registry_files(tmp_path / "*")
    assert [path.name for path in registry_files(tmp_path)] == ["a*.csv"]


def test_a_sample_has_all_rows_of_its_therapists(
    whole: tuple[Study, pd.DataFrame], tmp_path: Path
) -> None:
    study, frame = whole
    for kind in ("parquet", "csv"):
        folder = write_parts(frame, tmp_path / kind, 6, kind)
        trial = sample_therapists(study, folder, 5, seed=2)
        chosen = {str(name) for name in trial.data["therapist"].values}
        assert len(chosen) == 5
        rows = frame[frame[study.columns.therapist].isin(chosen)]
        same = trial_from_frame(study, rows)
        pd.testing.assert_frame_equal(trial.flow, same.flow)
        np.testing.assert_array_equal(trial.data["moderator"], same.data["moderator"])
        assert trial.notes[0].startswith(
            f"A random sample of 5 of 15 therapists (seed 2): {len(rows)} of {ROWS} rows."
        )
    again = sample_therapists(study, folder, 5, seed=2)
    assert set(again.data["therapist"].values) == chosen
    everyone = sample_therapists(study, folder, 100, seed=2)
    assert everyone.data.sizes["therapist"] == 15
