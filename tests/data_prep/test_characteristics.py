"""Patients before treatment by arm: what pandas says of the same table, rows or no rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from registry_trials import STUDY, table, typed

from alliance.data_prep.registry.registry import load_registry
from alliance.data_prep.trial.characteristics import (
    characteristics_table,
    moments_characteristics,
    patients_characteristics,
    standardised_difference,
    trial_characteristics,
)
from alliance.data_prep.trial.trial import Trial, load_trial, trial_from_frame

KEY = ["kind", "name", "level", "arm"]


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """60 patients; some lack age, alliance, baseline, arm or site."""
    made = table(np.random.default_rng(5))
    for column, rows in {"age": [3, 9], "wai": [4], "pre": [5, 6], "arm": [7], "site": [8]}.items():
        made.loc[rows, column] = ""
    return made


@pytest.fixture(scope="module")
def trial(frame: pd.DataFrame) -> Trial:
    return trial_from_frame(STUDY, typed(frame), "trial.csv")


def test_means_sds_and_missing_are_those_of_the_table(trial: Trial, frame: pd.DataFrame) -> None:
    found = characteristics_table(trial_characteristics(trial.data, STUDY)).set_index(KEY)
    numbers = frame.replace("", np.nan)
    for arm, own in numbers.groupby("arm"):
        columns = {
            ("moderator", ""): "wai",
            ("baseline", "dep"): "pre",
            ("covariate", "age"): "age",
        }
        for (kind, name), column in columns.items():
            values = own[column].astype(float)
            row = found.loc[(kind, name, "", arm)]
            assert row["patients"] == len(values)
            assert row["known"] == values.notna().sum()
            assert row["mean"] == pytest.approx(values.mean())
            assert row["sd"] == pytest.approx(values.std())
        for level, share in own["site"].value_counts(normalize=True).items():
            assert found.loc[("covariate", "site", level, arm), "mean"] == pytest.approx(share)


def test_everybody_of_an_arm_is_analysed_or_left_out_for_one_reason(trial: Trial) -> None:
    found = trial_characteristics(trial.data, STUDY)
    patients = {row["arm"]: row["patients"] for row in found["rows"]}
    assert sum(patients.values()) == len(trial.data["patient"]) - 1  # one has no arm
    for row in found["flow"]:
        counts = [value for key, value in row.items() if key not in ("outcome", "arm")]
        assert sum(counts) == patients[row["arm"]]
    whole = pd.DataFrame(found["flow"]).groupby("outcome", sort=False).sum(numeric_only=True)
    flow = trial.flow.set_index("outcome")
    pd.testing.assert_frame_equal(whole, flow[whole.columns], check_dtype=False)


def test_a_run_keeps_them_as_plain_values(trial: Trial) -> None:
    found = trial_characteristics(trial.data, STUDY)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_nobody_s_own_value_is_told() -> None:
    """Of an arm in which one patient has a value there is a count, and no mean."""
    made = table(np.random.default_rng(6))
    own = np.flatnonzero(made["arm"] == "1")
    data = trial_from_frame(STUDY, typed(made), "trial.csv").data.copy(deep=True)
    data["covariates"].loc[{"patient": own[1:], "covariate": "age"}] = np.nan
    found = characteristics_table(trial_characteristics(data, STUDY)).set_index(KEY)
    alone = found.loc[("covariate", "age", "", "1")]
    assert (alone["patients"], alone["known"]) == (len(own), 1)
    assert alone[["mean", "sd"]].isna().all()
    assert np.isfinite(found.loc[("covariate", "age", "", "CBT"), "mean"])


def test_cross_products_tell_what_rows_tell(frame: pd.DataFrame, tmp_path: Path) -> None:
    """Of analysed patients: means, SDs and shares from sums of products, to rounding."""
    for k, part in enumerate(np.array_split(np.arange(len(frame)), 3)):
        frame.iloc[part].to_csv(tmp_path / f"{k}.csv", index=False)
    frame.to_csv(tmp_path / "whole.csv", index=False)
    registry = load_registry(STUDY, tmp_path / "[0-2].csv")
    whole = load_trial(STUDY, tmp_path / "whole.csv")
    patients = {name: whole.analysed(name) for name in STUDY.outcomes}
    rows = patients_characteristics(patients, STUDY)
    without = moments_characteristics(registry.moments, registry.covariates, STUDY)
    assert rows["who"] == without["who"] == "analysed"
    assert rows["therapists"] == without["therapists"]
    assert rows["flow"] == without["flow"]
    one, other = (
        characteristics_table(each).set_index(KEY).sort_index() for each in (rows, without)
    )
    pd.testing.assert_frame_equal(one, other, check_dtype=False)


def test_two_values_are_told_as_a_category() -> None:
    made = table(np.random.default_rng(7))
    made["age"] = np.where(np.arange(len(made)) % 3 == 0, "1", "0")
    trial = trial_from_frame(STUDY, typed(made), "trial.csv")
    found = characteristics_table(trial_characteristics(trial.data, STUDY))
    own = found[found["name"] == "age"].set_index(["level", "arm"])
    shares = (made["age"] == "1").groupby(made["arm"]).mean()
    for arm, share in shares.items():
        assert own.loc[("1", arm), "mean"] == pytest.approx(share)
        assert own.loc[("0", arm), "mean"] == pytest.approx(1 - share)


# Standardised differences ------------------------------------------------------------------------


def number(mean: float, sd: float) -> pd.DataFrame:
    return pd.DataFrame({"mean": [mean], "sd": [sd]})


def category(*shares: float) -> pd.DataFrame:
    return pd.DataFrame({"mean": shares, "sd": np.nan})


def test_of_a_number_it_is_the_difference_of_means_in_pooled_sds() -> None:
    # (12 - 10) / sqrt((3^2 + 5^2) / 2)
    found = standardised_difference(number(10, 3), number(12, 5))
    assert found == pytest.approx(2 / 17**0.5)
    assert standardised_difference(number(1, 0), number(1, 0)) == 0
    assert standardised_difference(number(1, 0), number(2, 0)) == np.inf
    assert np.isnan(standardised_difference(number(1, 1), number(np.nan, np.nan)))


def test_of_two_levels_it_is_that_of_the_share() -> None:
    # Austin 2009, equation for binary variables
    p, q = 0.3, 0.45
    expected = (q - p) / ((p * (1 - p) + q * (1 - q)) / 2) ** 0.5
    assert standardised_difference(category(0.7, p), category(0.55, q)) == pytest.approx(expected)


def test_of_several_levels_it_does_not_matter_which_one_comes_first() -> None:
    first, second = np.array([0.5, 0.2, 0.3]), np.array([0.4, 0.4, 0.2])
    given = standardised_difference(category(*first), category(*second))
    turned = standardised_difference(category(*first[::-1]), category(*second[::-1]))
    # Mahalanobis distance of the shares of the last two levels, solved by hand
    covariance = (
        np.diag(first[1:]) - np.outer(first[1:], first[1:])
        + np.diag(second[1:]) - np.outer(second[1:], second[1:])
    ) / 2  # fmt: skip
    apart = first[1:] - second[1:]
    expected = np.sqrt(apart @ np.linalg.solve(covariance, apart))
    assert given == pytest.approx(expected)
    assert turned == pytest.approx(expected)
    # a level that neither arm has changes nothing, arms that share no level are infinitely apart
    padded = standardised_difference(category(*first, 0), category(*second, 0))
    assert padded == pytest.approx(expected)
    assert standardised_difference(category(1, 0), category(0, 1)) == np.inf
