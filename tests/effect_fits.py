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


def score_chances(design: Design, draw: xr.Dataset, predictor: float | Array) -> Array:
    """Chances of the scores of a scale with few, lowest first, in the last dimension."""
    scale = design.scale
    eta = (scale.link_location + scale.link_unit * np.asarray(predictor))[..., None]
    if design.family.name == "beta_binomial":
        share, precision = stats.logistic.cdf(eta), float(draw["precision"])
        own = (share * precision, (1 - share) * precision)
        return stats.betabinom.pmf(np.arange(scale.top + 1), scale.top, *own)
    ends = [-np.inf, *draw["cutpoint"].values, np.inf]
    return np.diff(stats.logistic.cdf(np.array(ends) - eta))


def scores_of(design: Design) -> Array:
    return design.scale.offset + design.scale.unit * np.arange(design.scale.top + 1)


def continuous_law(design: Design, draw: xr.Dataset, predictor: float | Array) -> tuple[Any, ...]:
    """Of scores around a predictor: a distribution of scipy, and its parameters."""
    scale = design.scale
    place = scale.offset + scale.unit * (scale.link_location + scale.link_unit * predictor)
    spread = scale.unit * float(draw["residual_sd"])
    if design.family.name == "gaussian":
        return stats.norm, place, spread
    return stats.t, float(draw["degrees_of_freedom"]), place, spread


def score_distribution(design: Design, draw: xr.Dataset, predictor: float) -> Any:
    """The distribution of scores around a predictor, from scipy, on the outcome's own scale."""
    if not design.family.discrete:
        law, *parameters = continuous_law(design, draw, predictor)
        return law(*parameters)
    chances = score_chances(design, draw, predictor)
    counts = np.arange(len(chances))
    return stats.rv_discrete(values=(counts, chances / chances.sum())), scores_of(design)


def mean_of(design: Design, draw: xr.Dataset, predictor: float) -> float:
    if design.family.discrete:
        return float(score_chances(design, draw, predictor) @ scores_of(design))
    law, *parameters = continuous_law(design, draw, predictor)
    return float(law.mean(*parameters))


def chance_of(
    design: Design, draw: xr.Dataset, predictor: float, bound: float, *, upwards: bool
) -> float:
    """Chance of this score, or one beyond it on the better side.

    Scores are whole: under a continuous law one of them is what lies within half a point of it, and
    no score lies beyond the ends of the scale.
    """
    if design.family.discrete:
        scores = scores_of(design)
        wanted = scores >= bound if upwards else scores <= bound
        return float(score_chances(design, draw, predictor)[wanted].sum())
    law, *parameters = continuous_law(design, draw, predictor)
    low, high = RANGES[design.outcome]
    if upwards:
        return float(0.0 if bound > high else law.sf(np.ceil(bound) - 0.5, *parameters))
    return float(0.0 if bound < low else law.cdf(np.floor(bound) + 0.5, *parameters))


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
