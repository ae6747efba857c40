"""Fits of one outcome of a small simulated trial, of any family, with a posterior that is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from made_draws import FEW_DRAWS, small_trial
from numpy.typing import NDArray
from prediction_examples import one_predictor, therapist_posterior
from scipy import stats

from alliance.inference.draws.datatree import add_patients
from alliance.inference.posterior import Rows
from alliance.inference.runs.fit import Fit
from alliance.models.design.design import Design
from alliance.models.spec import ModelSpec

Array = NDArray[np.float64]
FAMILIES = {"function": ("gaussian", "student_t", "beta_binomial"), "gpe": ("ordinal",)}
RANGES = {"function": (3, 30), "gpe": (-5, 5)}
PAIRS = [(outcome, family) for outcome, each in FAMILIES.items() for family in each]


def fit_of(
    outcome: str = "function",
    posterior: Callable[[Design], xr.Dataset] = therapist_posterior,
    *,
    better: str = "higher",
    **options: Any,
) -> Fit:
    """A fit of one outcome; `options` as `models.spec.ModelSpec` has them.

    The outcome ``function`` runs from 3 to 30 and has a baseline; ``gpe`` runs from -5 to 5 and has
    none. Both are better when higher, unless turned round.
    """
    trial = small_trial()
    described = trial.study.outcomes[outcome].model_copy(update={"better": better})
    study = trial.study.model_copy(update={"outcomes": {outcome: described}})
    spec = ModelSpec(outcome, **options)
    tree = xr.DataTree()
    add_patients(tree, trial.analysed(outcome))
    flow = trial.flow[trial.flow["outcome"] == outcome]
    manifest = {"profile": FEW_DRAWS.to_dict(), "seed": 0}
    fit = Fit(study, {outcome: spec}, {outcome: tree}, flow, manifest)
    tree["posterior"] = xr.DataTree(posterior(fit.design(outcome)))
    return fit


def draw_of(fit: Fit, outcome: str, number: int) -> xr.Dataset:
    """One draw, counted chain after chain."""
    draws = fit.trees[outcome]["posterior"].dataset
    chain, draw = divmod(number, draws.sizes["draw"])
    return draws.isel(chain=chain, draw=draw)


def score_distribution(design: Design, draw: xr.Dataset, predictor: float) -> Any:
    """The distribution of scores around a predictor, from scipy, on the outcome's own scale."""
    scale, family = design.scale, design.family.name
    eta = scale.link_location + scale.link_unit * predictor
    if family in ("gaussian", "student_t"):
        place = scale.offset + scale.unit * eta
        spread = scale.unit * float(draw["residual_sd"])
        if family == "gaussian":
            return stats.norm(place, spread)
        return stats.t(float(draw["degrees_of_freedom"]), place, spread)
    if family == "beta_binomial":
        share, precision = stats.logistic.cdf(eta), float(draw["precision"])
        counts = stats.betabinom(scale.top, share * precision, (1 - share) * precision)
        chances = counts.pmf(np.arange(scale.top + 1))
    else:
        ends = [-np.inf, *draw["cutpoint"].values, np.inf]
        chances = np.diff(stats.logistic.cdf(np.array(ends) - eta))
    scores = scale.offset + scale.unit * np.arange(scale.top + 1)
    return stats.rv_discrete(values=(np.arange(scale.top + 1), chances / chances.sum())), scores


def mean_of(design: Design, draw: xr.Dataset, predictor: float) -> float:
    found = score_distribution(design, draw, predictor)
    if not isinstance(found, tuple):
        return float(found.mean())
    distribution, scores = found
    return float(distribution.pmf(np.arange(len(scores))) @ scores)


def chance_of(
    design: Design, draw: xr.Dataset, predictor: float, bound: float, *, upwards: bool
) -> float:
    """Chance of this score, or one beyond it on the better side.

    Scores are whole: under a continuous law one of them is what lies within half a point of it, and
    no score lies beyond the ends of the scale.
    """
    found = score_distribution(design, draw, predictor)
    if not isinstance(found, tuple):
        low, high = RANGES[design.outcome]
        if upwards:
            return float(0.0 if bound > high else found.sf(np.ceil(bound) - 0.5))
        return float(0.0 if bound < low else found.cdf(np.floor(bound) + 0.5))
    distribution, scores = found
    wanted = scores >= bound if upwards else scores <= bound
    return float(distribution.pmf(np.arange(len(scores)))[wanted].sum())


def looped(
    fit: Fit,
    outcome: str,
    number: int,
    arm: int,
    value: float | None,
    measure: Callable[[Design, xr.Dataset, float, int], float],
    therapist: str | None = None,
) -> float:
    """Average of a measure over the trial's patients at one draw, patient by patient."""
    design, draw, rows = (
        fit.design(outcome),
        draw_of(fit, outcome, number),
        fit[outcome].rows,
    )
    imagined: Rows = rows.in_arm(arm)
    if value is not None:
        imagined = imagined.at_moderator(value)
    found = [
        measure(design, draw, one_predictor(design, draw, imagined, row, therapist), row)
        for row in range(len(rows))
    ]
    return float(np.mean(found))


def expected(design: Design, draw: xr.Dataset, predictor: float, _row: int) -> float:
    return mean_of(design, draw, predictor)
