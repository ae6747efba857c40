"""Single outcomes at a rank, and chances beyond a bound: against scipy's distributions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from example_families import LIMITS, family_design
from numpy.typing import NDArray
from prediction_examples import therapist_posterior
from scipy import stats

from alliance.inference.posterior import Posterior
from alliance.inference.scores.single_scores import (
    chance_at_least,
    chance_at_most,
    residual_draws,
    scores_at,
)
from alliance.models.design.design import Design
from alliance.models.families.families import FAMILIES

Array = NDArray[np.float64]
DRAWS, ROWS = 8, 30


def example(family: str) -> tuple[Design, dict[str, Array], Array]:
    """A design, draws of the family's own parameters, and predictors on the link's scale."""
    design = family_design(family)
    auxiliary = Posterior(design, therapist_posterior(design)).family_parameters
    eta = np.random.default_rng(2).normal(0, 1.5, (DRAWS, ROWS))
    return design, auxiliary, eta


def distribution(design: Design, auxiliary: dict[str, Array], eta: float, draw: int) -> Any:
    """The family's distribution at one draw and predictor, from scipy."""
    own = {name: values[draw] for name, values in auxiliary.items()}
    if design.family.name == "gaussian":
        return stats.norm(eta, own["residual_sd"][0])
    if design.family.name == "student_t":
        return stats.t(own["degrees_of_freedom"][0], eta, own["residual_sd"][0])
    if design.family.name == "beta_binomial":
        share, precision = stats.logistic.cdf(eta), own["precision"][0]
        top = design.scale.top
        return stats.betabinom(top, share * precision, (1 - share) * precision)
    if design.family.name == "binary":
        return stats.bernoulli(stats.logistic.cdf(eta))
    if design.family.name == "count":
        alpha = own["overdispersion"][0]
        return stats.nbinom(alpha**-2.0, 1 / (1 + alpha**2 * np.exp(eta)))
    latent = stats.logistic if design.family.link == "cumulative logit" else stats.norm
    ends = latent.cdf([-np.inf, *(own["cutpoint"] - eta), np.inf])
    return stats.rv_discrete(values=(np.arange(design.scale.top + 1), np.diff(ends)))


def uniform_ranks(design: Design, auxiliary: dict[str, Array], residual: Array) -> Array:
    """The rank of each residual in the residuals' distribution, from scipy."""
    if "degrees_of_freedom" in auxiliary:
        return stats.t.cdf(residual, auxiliary["degrees_of_freedom"])
    link = design.family.link
    if link in ("identity", "cumulative probit"):
        return stats.norm.cdf(residual)
    logistic = link == "cumulative logit" or design.family.name == "binary"
    return stats.logistic.cdf(residual) if logistic else residual


@pytest.mark.parametrize("family", FAMILIES)
def test_an_outcome_is_the_quantile_at_the_patients_rank(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alliance.inference.draws.summaries.CACHE_NUMBERS", 40)  # several blocks
    design, auxiliary, eta = example(family)
    residual = residual_draws(design, auxiliary, eta.shape, np.random.default_rng(3))
    found = scores_at(design, auxiliary, eta, residual)
    ranks = uniform_ranks(design, auxiliary, residual)
    for draw, row in np.ndindex(eta.shape):
        own = distribution(design, auxiliary, eta[draw, row], draw).ppf(ranks[draw, row])
        expected = design.scale.offset + design.scale.unit * own
        assert found[draw, row] == pytest.approx(expected, abs=1e-9), (draw, row)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("position", [-0.3, 0.0, 0.31, 0.5, 0.69, 1.0, 1.2])
def test_chances_are_those_of_the_distribution(family: str, position: float) -> None:
    """Bounds at the ends of the scale, within it (whole or not), and beyond it."""
    design, auxiliary, eta = example(family)
    low, high = LIMITS.get(family, LIMITS["ordinal"])
    if not design.family.discrete:
        low, high = 0.0, 30.0
    bound = np.full(ROWS, low + position * (high - low))
    bound[::2] = np.round(bound[::2])
    at_least = chance_at_least(design, auxiliary, eta, bound)
    at_most = chance_at_most(design, auxiliary, eta, bound)
    for draw, row in np.ndindex(eta.shape):
        own = (bound[row] - design.scale.offset) / design.scale.unit
        law = distribution(design, auxiliary, eta[draw, row], draw)
        below = law.cdf(np.ceil(own) - 1) if design.family.discrete else law.cdf(own)
        assert at_least[draw, row] == pytest.approx(1 - below, abs=1e-9)
        assert at_most[draw, row] == pytest.approx(law.cdf(own), abs=1e-9)


@pytest.mark.parametrize("eta", [-30.0, -8.0, 8.0, 30.0])
@pytest.mark.parametrize("precision", [1e-3, 1e5])
def test_extreme_bounded_scores_are_neither_lost_nor_undefined(
    eta: float, precision: float
) -> None:
    """Means at either end of a long scale, where probabilities from one end would underflow."""
    design = family_design("beta_binomial")
    design = replace(design, scale=replace(design.scale, top=100))
    auxiliary = {"precision": np.full((1, 1), precision)}
    uniform = np.array([[1e-6, 0.3, 0.5, 0.7, 1 - 1e-6]])
    at = np.full(uniform.shape, eta)
    found = scores_at(design, auxiliary, at, uniform) - design.scale.offset
    law = distribution(design, auxiliary, eta, 0)
    with np.errstate(all="ignore"):
        expected = law.ppf(uniform)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_residuals_do_not_depend_on_the_blocks_they_are_drawn_in(family: str) -> None:
    design, auxiliary, _ = example(family)
    whole = residual_draws(design, auxiliary, (DRAWS, 6), np.random.default_rng(3))
    random = np.random.default_rng(3)
    parts = [residual_draws(design, auxiliary, (DRAWS, size), random) for size in (1, 3, 2)]
    np.testing.assert_array_equal(np.column_stack(parts), whole)


def test_degrees_of_freedom_that_the_prior_fixes_are_known() -> None:
    design = family_design("student_t")
    draws: xr.Dataset = therapist_posterior(design).drop_vars("degrees_of_freedom")
    fixed = Posterior(replace(design, fixed={"degrees_of_freedom": 4.0}), draws).family_parameters
    np.testing.assert_array_equal(fixed["degrees_of_freedom"], np.full((DRAWS, 1), 4.0))
    assert fixed["residual_sd"].shape == (DRAWS, 1)
