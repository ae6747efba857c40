"""The tidy table against plain NumPy and ArviZ on the same draws."""

from __future__ import annotations

from typing import Any

import arviz as az
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from alliance.data_prep.errors import InputError
from alliance.inference.estimands.estimands import summarise
from alliance.inference.runs.fit import Fit

LABELS = (
    ("moderator_slope", "average"),
    ("arm_contrast", "MCE-GE"),
    ("therapist_sd", ""),
    ("therapist_icc", ""),
)
COLUMNS = [
    "outcome",
    "quantity",
    "level",
    "mean",
    "sd",
    "lower",
    "upper",
    "prob_positive",
    "ess_bulk",
    "ess_tail",
    "r_hat",
    "at",
]


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    """Four chains of 500 draws: autocorrelated, shifted, skewed and heavy-tailed."""
    random = np.random.default_rng(12)
    values = random.normal(size=(4, 500, len(LABELS)))
    values[:, 1:, 0] += 0.7 * values[:, :-1, 0]
    values[0, :, 1] += 0.5
    values[..., 2] = np.exp(values[..., 2])
    values[..., 3] = random.standard_t(2, size=(4, 500)) ** 2
    return values


@pytest.fixture(scope="module")
def estimands(values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(
        values,
        dims=("chain", "draw", "estimand"),
        coords={
            "quantity": ("estimand", [quantity for quantity, _ in LABELS]),
            "level": ("estimand", [level for _, level in LABELS]),
        },
    )


def test_columns_and_rows(estimands: xr.DataArray) -> None:
    table = summarise("function", estimands)
    assert list(table.columns) == COLUMNS
    assert list(zip(table["quantity"], table["level"], strict=True)) == list(LABELS)
    assert set(table["outcome"]) == {"function"}


@pytest.mark.parametrize("interval", [0.95, 0.5, 0.89, 0.999])
def test_moments_and_limits(estimands: xr.DataArray, values: np.ndarray, interval: float) -> None:
    table = summarise("function", estimands, interval=interval)
    for k in range(len(LABELS)):
        draws = np.sort(values[..., k].ravel())
        mean = draws.sum() / 2000
        row = table.iloc[k]
        assert row["mean"] == pytest.approx(mean, rel=1e-12)
        assert row["sd"] == pytest.approx(np.sqrt(((draws - mean) ** 2).sum() / 1999), rel=1e-12)
        for name, probability in (("lower", (1 - interval) / 2), ("upper", (1 + interval) / 2)):
            place = probability * 1999  # between the order statistics on either side
            below = int(place)
            limit = draws[below] + (place - below) * (draws[below + 1] - draws[below])
            assert row[name] == pytest.approx(limit, rel=1e-9)


def test_the_default_interval_is_of_95_percent(estimands: xr.DataArray) -> None:
    pd.testing.assert_frame_equal(
        summarise("function", estimands), summarise("function", estimands, interval=0.95)
    )


def test_probability_of_being_positive(estimands: xr.DataArray, values: np.ndarray) -> None:
    table = summarise("function", estimands)
    for k in (0, 1):
        share = sum(draw > 0 for draw in values[..., k].ravel()) / 2000
        assert table["prob_positive"][k] == share
    assert table["prob_positive"][2:].isna().all()  # what cannot be negative


def test_convergence_statistics_are_arviz_s_own(
    estimands: xr.DataArray, values: np.ndarray
) -> None:
    table = summarise("function", estimands)
    tree = az.from_dict({"posterior": {f"q{k}": values[..., k] for k in range(len(LABELS))}})
    # ArviZ computes its tail ESS at the limits of its own interval; that of 90% has the quantiles
    # 0.05 and 0.95 that the definition of Vehtari et al. 2021 asks for.
    theirs = az.summary(tree, kind="diagnostics", ci_prob=0.9, ci_kind="eti", round_to="none")
    for name, label in {"ess_bulk": "ess_bulk", "r_hat": "r_hat"}.items():
        np.testing.assert_allclose(table[name], theirs[label].astype(float), rtol=1e-12)
    tails = [az.ess(values[..., k], method="tail", prob=(0.05, 0.95)) for k in range(len(LABELS))]
    np.testing.assert_allclose(table["ess_tail"], tails, rtol=1e-12)
    assert table["r_hat"][1] > 1.02  # the shifted chain
    assert table["ess_bulk"][0] < 1500  # the autocorrelated one


def test_the_interval_moves_no_convergence_statistic(estimands: xr.DataArray) -> None:
    wide, narrow = (summarise("x", estimands, interval=share) for share in (0.99, 0.5))
    names = ["mean", "sd", "prob_positive", "ess_bulk", "ess_tail", "r_hat"]
    pd.testing.assert_frame_equal(wide[names], narrow[names])
    assert (wide["lower"] < narrow["lower"]).all()
    assert (wide["upper"] > narrow["upper"]).all()


@pytest.mark.parametrize("interval", [0.0, 1.0, -0.1, 95.0, float("nan")])
def test_a_probability_that_is_none_is_refused(estimands: xr.DataArray, interval: float) -> None:
    with pytest.raises(InputError, match="not between 0 and 1"):
        summarise("function", estimands, interval=interval)


class TestOfAFit:
    """Draws on the standardised scale turned to the outcome's own, patient by patient."""

    def test_one_table_for_all_outcomes(self, made_fit: Fit) -> None:
        table = made_fit.summary()
        assert list(table.columns) == COLUMNS
        rows = {name: int((table["outcome"] == name).sum()) for name in made_fit.outcomes}
        # 1 intercept, 1 baseline, 4 slopes, 3 contrasts, 3 interactions, 4 spreads.
        assert rows == {"function": 16, "gpe": 15}
        assert not table.duplicated(["outcome", "quantity", "level"]).any()

    @pytest.mark.parametrize("outcome", ["function", "gpe"])
    def test_slopes_and_contrasts_are_differences_of_predictions(
        self, made_fit: Fit, outcome: str
    ) -> None:
        """Expected scores of one draw at chosen values, worked out from the design's meaning."""
        patients, draws = made_fit.patients(outcome), made_fit.trees[outcome]["posterior"]
        y, wai = patients["outcome"].values, patients["moderator"].values
        found = made_fit.estimands(outcome).isel(chain=1, draw=17)
        by_label = {
            (str(q), str(level)): float(value)
            for q, level, value in zip(
                found["quantity"].values, found["level"].values, found.values, strict=True
            )
        }
        beta = dict(
            zip(
                draws["coefficient"].values,
                draws["beta"].isel(chain=1, draw=17).values,
                strict=True,
            )
        )
        # Orthonormal sum-to-zero contrasts of three arms (Helmert), typed out.
        basis = {
            "GE": (1 / np.sqrt(2), 1 / np.sqrt(6)),
            "MCE": (-1 / np.sqrt(2), 1 / np.sqrt(6)),
            "SMT": (0.0, -2 / np.sqrt(6)),
        }

        def expected(arm: str, alliance: float, sds_of_baseline: float = 0.0) -> float:
            z = (alliance - wai.mean()) / wai.std(ddof=1)
            eta = beta["intercept"] + beta["moderator"] * z
            eta += beta.get("baseline", 0.0) * sds_of_baseline
            for k, weight in enumerate(basis[arm], start=1):
                eta += weight * (beta[f"arm[{k}]"] + beta[f"interaction[{k}]"] * z)
            return float(y.mean() + y.std(ddof=1) * eta)

        centre = wai.mean()
        truth: dict[tuple[str, str], Any] = {
            ("intercept", ""): np.mean([expected(arm, centre) for arm in basis])
        }
        slopes = {arm: expected(arm, centre + 1) - expected(arm, centre) for arm in basis}
        truth |= {("moderator_slope", arm): slope for arm, slope in slopes.items()}
        truth["moderator_slope", "average"] = np.mean(list(slopes.values()))
        for later, earlier in (("MCE", "GE"), ("SMT", "GE"), ("SMT", "MCE")):
            level = f"{later}-{earlier}"
            truth["arm_contrast", level] = expected(later, centre) - expected(earlier, centre)
            truth["interaction", level] = slopes[later] - slopes[earlier]
        if "baseline" in patients:
            spread = patients["baseline"].values.std(ddof=1)
            rise = expected("GE", centre, 1.0) - expected("GE", centre)
            truth["baseline_slope", ""] = rise / spread
        for key, value in truth.items():
            assert by_label[key] == pytest.approx(value, rel=1e-9, abs=1e-12), key

        def drawn(name: str) -> float:
            return float(draws[name].isel(chain=1, draw=17))

        between, within = drawn("therapist_sd"), drawn("residual_sd")
        spreads = {
            "therapist_sd": between * y.std(ddof=1),
            "therapist_slope_sd": drawn("therapist_slope_sd") * y.std(ddof=1) / wai.std(ddof=1),
            "therapist_icc": between**2 / (between**2 + within**2),
            "residual_sd": within * y.std(ddof=1),
        }
        for name, value in spreads.items():
            assert by_label[name, ""] == pytest.approx(value, rel=1e-9), name
        assert set(by_label) == set(truth) | {(name, "") for name in spreads}

    def test_per_sd_turns_slopes_alone(self, made_fit: Fit) -> None:
        key = ["outcome", "quantity", "level"]
        both = made_fit.summary().merge(made_fit.summary(per_sd=True), on=key)
        turned = ["moderator_slope", "interaction", "therapist_slope_sd"]
        for row in both.to_dict("records"):
            wai = made_fit.patients(row["outcome"])["moderator"].values
            unit = wai.std(ddof=1) if row["quantity"] in turned else 1.0
            for name in ("mean", "sd", "lower", "upper"):
                assert row[f"{name}_y"] == pytest.approx(unit * row[f"{name}_x"], rel=1e-9)
            assert row["ess_bulk_y"] == pytest.approx(row["ess_bulk_x"])
