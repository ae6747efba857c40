"""Logistic and negative binomial regressions of events and counts, by maximum likelihood.

The generalised linear models that publications have (McCullagh & Nelder 1989), without therapist
effects; counts with the logarithm of the exposure as offset. Their coefficients pass through the
same functions as the posterior's draws, so that risk differences and all ratios stand beside one
another. Standard errors are those of the delta method; intervals of ratios are symmetric on the
logarithm.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from alliance.inference.estimands.estimands import SCALE_QUANTITIES, estimand_draws
from alliance.inference.estimands.ratios import RATIOS
from alliance.inference.posterior import Posterior
from alliance.inference.published.refits import COLUMNS
from alliance.models.design.design import Design, build_design
from alliance.models.spec import ModelSpec, ModeratorSpec

Array = NDArray[np.float64]

STEP = 1e-4  # of numerical derivatives, in SDs of the columns
FARTHEST = 15.0  # of a predictor: beyond it a chance is nought or one to seven digits
LEAST_OVERDISPERSION = 1e-3  # below it counts are as a Poisson distribution has them
MODELS = {"ml": True, "ml_main": False}  # with the interaction or without it


@dataclass(frozen=True, eq=False, slots=True)
class _Estimates:
    """Coefficients of the columns present, their covariance, and the overdispersion."""

    coefficients: Array
    covariance: Array
    overdispersion: float
    note: str = ""


def likelihood_refit(
    posterior: Posterior, spec: ModelSpec, *, interval: float = 0.95, at: float | None = None
) -> pd.DataFrame:
    """Regressions of one outcome of events or counts.

    Parameters
    ----------
    posterior : Posterior
        Of a run; its patients with a rating are taken.
    spec : ModelSpec
    interval : float
        Probability of the confidence intervals.
    at : float, optional
        Alliance, in its own points, at which arms are compared; by default the mean of these
        patients.

    Returns
    -------
    pandas.DataFrame
        Columns as of `inference.published.refits.refit`; models ``ml`` (with the arm by moderator
        interaction) and ``ml_main`` (without it). Without estimates, and with a note, where there
        is no maximum.
    """
    patients = posterior.patients.isel(patient=posterior.lacking_no_rating)
    tables = []
    for model, interaction in MODELS.items():
        if interaction and not spec.interaction:
            continue
        own = replace(
            spec,
            interaction=interaction,
            therapist="none",
            therapist_by_arm=False,
            moderator=ModeratorSpec(arms=spec.moderator.arms),
        )
        design = build_design(patients, own, posterior.outcome.range)
        tables.append(_table(design, model, interval, at))
    return pd.concat(tables, ignore_index=True)


def _table(design: Design, model: str, interval: float, at: float | None) -> pd.DataFrame:
    found = _events(design) if design.family.name == "binary" else _counts(design)
    if not np.isfinite(found.coefficients).all():
        return pd.DataFrame(
            [
                {
                    "outcome": design.outcome,
                    "model": model,
                    "quantity": "arm_contrast",
                    "level": "",
                    "note": found.note,
                }
            ],
            columns=list(COLUMNS),
        )
    size = len(found.coefficients)
    points = np.vstack([np.zeros(size), STEP * np.eye(size), -STEP * np.eye(size)])
    draws = _as_draws(design, found.coefficients + points, found.overdispersion)
    estimands = estimand_draws(Posterior(design, draws), at=at)
    quantity = estimands["quantity"].values
    values = estimands.transpose("estimand", "chain", "draw").values[:, 0]
    ratios = np.isin(quantity, RATIOS)
    values = np.where(ratios[:, None], np.log(np.where(ratios[:, None], values, 1.0)), values)
    gradient = (values[:, 1 : size + 1] - values[:, size + 1 :]) / (2 * STEP)
    estimate = values[:, 0]
    se = np.sqrt(np.einsum("mp,pq,mq->m", gradient, found.covariance, gradient).clip(min=0))
    half = stats.norm.ppf((1 + interval) / 2) * se
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = 2 * stats.norm.sf(np.abs(estimate) / se)
    spreads = np.isin(quantity, SCALE_QUANTITIES) & ~ratios

    def back(numbers: Array) -> Array:
        return np.where(ratios, np.exp(np.where(ratios, numbers, 0.0)), numbers)

    table = pd.DataFrame(
        {
            "outcome": design.outcome,
            "model": model,
            "quantity": quantity,
            "level": estimands["level"].values,
            "estimate": back(estimate),
            "se": np.where(spreads, np.nan, np.where(ratios, back(estimate), 1.0) * se),
            "df": np.inf,
            "lower": np.where(spreads, np.nan, back(estimate - half)),
            "upper": np.where(spreads, np.nan, back(estimate + half)),
            "p_value": np.where(spreads, np.nan, p_value),
            "note": found.note,
        }
    )
    return table[list(COLUMNS)]


def _as_draws(design: Design, coefficients: Array, overdispersion: float) -> xr.Dataset:
    """Coefficients (m, p) on the link's scale as m draws on the predictor's."""
    scale, names = design.scale, [design.coefficients[k] for k in design.present]
    beta = coefficients.copy()
    beta[:, names.index("intercept")] -= scale.link_location
    found = xr.Dataset(
        {"beta": (("chain", "draw", "coefficient"), beta[None] / scale.link_unit)},
        {"chain": [0], "draw": np.arange(len(beta)), "coefficient": names},
    )
    if design.family.name == "count":
        found["overdispersion"] = (("chain", "draw"), np.full((1, len(beta)), overdispersion))
    return found


def _no_maximum(design: Design, why: str) -> _Estimates:
    size = len(design.present)
    nothing = np.full((size, size), np.nan)
    return _Estimates(nothing[0], nothing, np.nan, f"ML has no estimate: {why}")


def _alike(design: Design) -> str:
    """An arm without events, or with nothing else; empty where there is none."""
    arms = design.X[:, design.arm_columns].round(9)
    for row in np.unique(arms, axis=0):
        own = design.y[(arms == row).all(axis=1)]
        if not own.any() or (design.family.name == "binary" and own.all()):
            return "an arm has no event" if not own.any() else "every patient of an arm has it"
    return ""


def _events(design: Design) -> _Estimates:
    from statsmodels.api import Logit  # slow to load

    if why := _alike(design):
        return _no_maximum(design, f"{why} (separation)")
    X = design.X[:, design.present]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of separation: what it leaves is looked at below
        try:
            found = Logit(design.y, X).fit(method="newton", maxiter=100, disp=False)
        except np.linalg.LinAlgError:
            found = None
    if found is None or np.abs(X @ found.params).max() > FARTHEST:
        return _no_maximum(design, "the columns separate patients with the event from the others")
    return _Estimates(np.asarray(found.params), np.asarray(found.cov_params()), np.nan)


def _counts(design: Design) -> _Estimates:
    from statsmodels.api import NegativeBinomial, Poisson  # slow to load

    if why := _alike(design):
        return _no_maximum(design, f"{why}")
    X = design.X[:, design.present]
    size = X.shape[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence: what it leaves is looked at below
        poisson = Poisson(design.y, X, offset=design.offset).fit(disp=False, maxiter=200)
        start = np.append(poisson.params, 0.5)
        found = NegativeBinomial(design.y, X, offset=design.offset).fit(
            start_params=start, disp=False, maxiter=500
        )
        # Counts that scatter less than Poisson ones leave no curvature to invert
        known = found.normalized_cov_params is not None
        covariance = np.asarray(found.cov_params() if known else np.full((size + 1,) * 2, np.nan))
    alpha = float(found.params[-1])
    if alpha <= LEAST_OVERDISPERSION**2 or not np.isfinite(covariance).all():
        note = "ML: the overdispersion is estimated as zero; the counts are taken as Poisson"
        return _Estimates(np.asarray(poisson.params), np.asarray(poisson.cov_params()), 0.0, note)
    return _Estimates(
        np.asarray(found.params[:size]), covariance[:size, :size], float(np.sqrt(alpha))
    )
