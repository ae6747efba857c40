"""Maximum likelihood of events and counts against statsmodels' generalised linear models."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from example_families import LIMITS, family_patients
from numpy.typing import NDArray

from alliance.inference.estimands.ratios import DIFFERENCES, RATIOS
from alliance.inference.published.maximum_likelihood import _table
from alliance.models.design.design import Design, build_design
from alliance.models.spec import ModelSpec

Array = NDArray[np.float64]


def a_design(family: str, *, exposed: bool = False, patients: int = 300) -> Design:
    found = family_patients(family, patients=patients)
    found = found.isel(patient=np.flatnonzero(np.isfinite(found["moderator"].values)))
    if exposed:
        exposure = np.random.default_rng(4).uniform(0.3, 3.0, found.sizes["patient"])
        found = found.assign(exposure=("patient", exposure))
    return build_design(found, ModelSpec("example", "none", family=family), LIMITS[family])


def fitted(design: Design) -> tuple[Array, Array]:
    """Coefficients on the link's scale and their covariance, by iteratively weighted squares.

    Counts at the overdispersion of largest likelihood on a grid of the profile.
    """
    X = design.X[:, design.present]
    if design.family.name == "binary":
        found = sm.GLM(design.y, X, family=sm.families.Binomial()).fit()
        return found.params, found.cov_params()
    grid = np.exp(np.linspace(np.log(0.02), np.log(2), 4000))

    def at(alpha: float) -> sm.GLM:
        law = sm.families.NegativeBinomial(alpha=alpha)
        return sm.GLM(design.y, X, family=law, offset=design.offset).fit()

    low, high = 0, len(grid) - 1
    while high - low > 2:  # the profile has one top
        left, right = low + (high - low) // 3, high - (high - low) // 3
        if at(grid[left]).llf < at(grid[right]).llf:
            low = left
        else:
            high = right
    found = at(grid[(low + high) // 2])
    return found.params, found.cov_params()


@pytest.mark.parametrize(("family", "exposed"), [("binary", False), ("count", True)])
def test_conditional_ratios_are_those_of_generalised_linear_models(
    family: str, exposed: bool
) -> None:
    """Estimates to 1e-3 of their standard errors, which agree to 5% (counts: the overdispersion
    is estimated along with the rest here, and known there; the two are asymptotically apart).
    """
    design = a_design(family, exposed=exposed)
    coefficients, covariance = fitted(design)
    names = [design.coefficients[k] for k in design.present]
    table = _table(design, "ml", 0.95, None).set_index(["quantity", "level"])
    kind = "rate" if family == "count" else "odds"
    weights = np.zeros(len(names))
    weights[names.index("moderator")] = 1 / design.scaling.moderator[1]
    arms = np.zeros(len(names))
    for k in (1, 2):
        column = design.X[:, design.coefficients.index(f"arm[{k}]")]
        index = np.array([0, 1])  # values of the basis in the first arm and the second
        basis = design.encoding.matrix(
            index, np.full(2, design.scaling.moderator[0]), np.full(2, design.scaling.baseline[0]),
            np.tile([mean for mean, _ in design.scaling.covariates], (2, 1)),
        )[:, design.coefficients.index(f"arm[{k}]")]  # fmt: skip
        assert set(np.round(basis, 9)) <= set(np.round(column, 9))
        arms[names.index(f"arm[{k}]")] = basis[1] - basis[0]
    level = f"{design.arms[1]}-{design.arms[0]}"
    for quantity, where, own in (
        (f"moderator_{kind}_ratio", "average", weights),
        (f"{kind}_ratio_conditional", level, arms),
    ):
        row = table.loc[quantity, where]
        log, se = own @ coefficients, np.sqrt(own @ covariance @ own)
        assert np.log(row["estimate"]) == pytest.approx(log, abs=1e-3 * se)
        assert row["se"] / row["estimate"] == pytest.approx(se, rel=0.05)
        limits = np.log([row["lower"], row["upper"]])
        np.testing.assert_allclose(limits, log + 1.96 * se * np.array([-1, 1]), atol=0.1 * se)


def test_marginal_differences_have_the_delta_methods_errors() -> None:
    """Against 20,000 draws of the coefficients from their normal law: 3% of the error."""
    design = a_design("binary")
    coefficients, covariance = fitted(design)
    X, arms = design.X[:, design.present], {}
    for arm in (0, 1):
        own = design.encoding.matrix(
            np.full(len(X), arm),
            design.scaling.moderator[0]
            + design.scaling.moderator[1] * X[:, design.coefficients.index("moderator")],
            design.scaling.baseline[0]
            + design.scaling.baseline[1] * X[:, design.coefficients.index("baseline")],
            np.column_stack(
                [
                    mean + sd * X[:, place]
                    for (mean, sd), place in zip(
                        design.scaling.covariates,
                        design.encoding.places("covariate"),
                        strict=True,
                    )
                ]
            ),
        )
        arms[arm] = own[:, design.present]
    draws = np.random.default_rng(1).multivariate_normal(coefficients, covariance, 20_000)
    mean = {arm: (1 / (1 + np.exp(-draws @ own.T))).mean(axis=1) for arm, own in arms.items()}
    table = _table(design, "ml", 0.95, None).set_index(["quantity", "level"])
    row = table.loc["risk_difference", f"{design.arms[1]}-{design.arms[0]}"]
    at_best = {k: (1 / (1 + np.exp(-own @ coefficients))).mean() for k, own in arms.items()}
    assert row["estimate"] == pytest.approx(at_best[1] - at_best[0], abs=1e-6)
    assert row["se"] == pytest.approx((mean[1] - mean[0]).std(), rel=0.03)
    assert set(table.loc[row.name[0]]["df"]) == {np.inf}


@pytest.mark.parametrize("family", ["binary", "count"])
def test_an_arm_without_events_has_no_maximum_and_says_so(family: str) -> None:
    patients = family_patients(family, patients=120)
    patients = patients.isel(patient=np.flatnonzero(np.isfinite(patients["moderator"].values)))
    scores = patients["outcome"].values.copy()
    scores[patients["arm_index"].values == 1] = 0.0
    patients = patients.assign(outcome=("patient", scores))
    design = build_design(patients, ModelSpec("example", "none", family=family), LIMITS[family])
    table: pd.DataFrame = _table(design, "ml", 0.95, None)
    assert table["estimate"].isna().all()
    assert "an arm has no event" in table["note"].iloc[0]


@pytest.mark.parametrize("spread", ["half a Poisson's", "hardly any"])
def test_counts_without_overdispersion_are_taken_as_poisson(spread: str) -> None:
    """The likelihood of the last has no curvature that statsmodels could invert."""
    design = a_design("count")
    random = np.random.default_rng(3)
    even = random.binomial(4, 0.5, len(design.y)).astype(float)
    if spread == "hardly any":
        even = 5.0 + random.integers(0, 2, len(design.y))
        object.__setattr__(design, "offset", None)
    object.__setattr__(design, "y", even)  # less than a Poisson distribution spreads
    table = _table(design, "ml", 0.95, None)
    assert "overdispersion is estimated as zero" in table["note"].iloc[0]
    own = table[table["quantity"].isin([*RATIOS, *DIFFERENCES.values()])]
    assert np.isfinite(own[["estimate", "se", "lower", "upper"]]).all(axis=None)
