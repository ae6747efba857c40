"""REML where arms have residual variances of their own, against the dense restricted likelihood."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nested_trials import DESIGNS, nested_design
from numpy.typing import NDArray
from scipy import optimize, stats

from alliance.inference.published.refits import refit
from alliance.models.design.design import Design

Array = NDArray[np.float64]
CASES = {
    "one arm without": (DESIGNS[1], {"therapist_sd": 1.0, "sds": (0.7, 1.4), "seed": 8}),
    "slopes vary": (DESIGNS[0], {"therapist_sd": 1.0, "sds": (0.7, 1.4), "seed": 8}),
    "by arm": (
        (("TAU", "CBT", "IPT"), ("TAU",), True, "intercept"),
        {"therapist_sd": 1.2, "sds": (1.5, 0.6, 1.0), "seed": 4},
    ),
    "two arms, crossed": (
        (("A", "B"), (), True, "intercept"),
        {"therapist_sd": 0.9, "sds": (0.6, 1.3), "seed": 2},
    ),
}


def covariance(design: Design, theta: Array) -> Array:
    """Of all scores: logs of the groups' residual SDs, then the factor's lower triangle."""
    groups, size = design.nesting.number, len(design.effects)
    V = np.diag(np.exp(2 * theta[:groups])[design.residual_group])
    L = np.zeros((size, size))
    L[np.tril_indices(size)] = theta[groups:]
    for j in range(len(design.therapists)):
        Z = design.X[:, design.effect_columns] * (design.therapist_index == j)[:, None]
        V += Z @ L @ L.T @ Z.T
    return V


def minus_twice(design: Design, theta: Array) -> float:
    """Minus twice the restricted log likelihood, as textbooks have it, with dense matrices."""
    V, X = covariance(design, theta), design.X[:, design.present]
    inverse = np.linalg.inv(V)
    precision = X.T @ inverse @ X
    left = design.y - X @ np.linalg.solve(precision, X.T @ inverse @ design.y)
    return float(np.linalg.slogdet(V)[1] + np.linalg.slogdet(precision)[1] + left @ inverse @ left)


@pytest.mark.parametrize("name", CASES)
def test_estimates_and_degrees_of_freedom_are_those_of_the_dense_likelihood(name: str) -> None:
    """Searched for by another routine from the truth; degrees of freedom by differences there.

    Estimates to 1e-4 of their standard errors, which the searches leave; Satterthwaite's degrees of
    freedom, of second differences, to 1%.
    """
    case, own = CASES[name]
    design = nested_design(*case, number=54, therapists=9, **own)
    table = refit(design).set_index(["model", "quantity", "level"]).loc["reml"]
    groups, size = design.nesting.number, len(design.effects)
    start = np.append(np.full(groups, -0.5), np.eye(size)[np.tril_indices(size)] * 0.5)
    options: dict[str, Any] = {"xatol": 1e-9, "fatol": 1e-11, "maxiter": 6000, "maxfev": 6000}
    found = optimize.minimize(
        lambda t: minus_twice(design, t), start, method="Nelder-Mead", options=options
    )
    for _ in range(3):
        found = optimize.minimize(
            lambda t: minus_twice(design, t), found.x, method="Nelder-Mead", options=options
        )
    theta, unit = found.x, design.scaling.outcome[1]
    X = design.X[:, design.present]

    def variances(t: Array) -> Array:
        return np.linalg.inv(X.T @ np.linalg.inv(covariance(design, t)) @ X)

    inverse = np.linalg.inv(covariance(design, theta))
    beta = variances(theta) @ X.T @ inverse @ design.y
    place = [design.coefficients[k] for k in design.present].index("baseline")
    row = table.loc["baseline_slope", ""]
    scale = unit / design.scaling.baseline[1]
    se = scale * np.sqrt(variances(theta)[place, place])
    assert row["estimate"] == pytest.approx(scale * beta[place], abs=1e-4 * se)
    assert row["se"] == pytest.approx(se, rel=1e-4)
    sds = np.exp(theta[:groups])[list(design.nesting.groups)]
    for arm, sd in zip(design.arms, sds, strict=True):
        assert table.loc[("residual_sd", arm), "estimate"] == pytest.approx(unit * sd, rel=1e-4)
    between = unit * abs(theta[groups])
    assert table.loc[("therapist_sd", ""), "estimate"] == pytest.approx(between, rel=1e-3)

    steps = 1e-4 * np.eye(len(theta))
    hessian = np.array(
        [
            [
                sum(
                    i * j * minus_twice(design, theta + i * a + j * b)
                    for i in (1, -1)
                    for j in (1, -1)
                )
                / 4e-8
                for b in steps
            ]
            for a in steps
        ]
    )
    slopes = np.array(
        [
            (variances(theta + a)[place, place] - variances(theta - a)[place, place]) / 2e-4
            for a in steps
        ]
    )
    spread = slopes @ np.linalg.solve(hessian / 2, slopes)
    df = 2 * variances(theta)[place, place] ** 2 / spread
    assert row["df"] == pytest.approx(df, rel=0.01)
    half = stats.t.ppf(0.975, row["df"]) * row["se"]
    assert row["upper"] - row["estimate"] == pytest.approx(half)


def test_least_squares_has_one_residual_sd_for_all_arms() -> None:
    case, own = CASES["one arm without"]
    table = refit(nested_design(*case, **own)).set_index(["model", "quantity", "level"])
    assert ("ols", "residual_sd", "") in table.index
    assert ("reml", "residual_sd", "TAU") in table.index


def test_robust_errors_take_patients_without_a_therapist_as_clusters_of_their_own() -> None:
    """As of the same trial in which each of them is given a therapist who treats nobody else."""
    case, own = CASES["one arm without"]
    design = nested_design(*case, **own)
    whole = nested_design(("CBT", "TAU"), (), False, "none", **own)
    alone = design.therapist_index == len(design.therapists)
    names = (*design.therapists, *(f"P{k}" for k in range(alone.sum())))
    index = design.therapist_index.copy()
    index[alone] += np.arange(alone.sum())
    from dataclasses import replace

    apart = replace(
        whole, X=design.X, y=design.y, encoding=design.encoding, therapists=names,
        therapist_index=index,
    )  # fmt: skip
    tables = [
        refit(each, robust=True).set_index(["model", "quantity", "level"]).loc["ols_robust"]
        for each in (design, apart)
    ]
    np.testing.assert_allclose(*(each[["estimate", "se", "df"]] for each in tables), rtol=1e-9)
