"""What is reported: slopes, contrasts and standard deviations on the outcome's own scale.

Posterior draws and linear-model refits pass through the same linear map from standardised
coefficients to reported quantities, so that they can be set side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from inference.datatree import gaussian_draws
from models.design import Design, sum_to_zero_basis
from models.gaussian_draws import GaussianDraws
from models.priors import Priors

Array = NDArray[np.float64]

# Quantities that no data can make negative: their sign says nothing.
SCALE_QUANTITIES = ("therapist_sd", "therapist_slope_sd", "therapist_icc", "residual_sd")


@dataclass(frozen=True, eq=False, slots=True)
class LinearEstimands:
    """Reported quantities that are linear in the standardised coefficients.

    Attributes
    ----------
    labels : tuple of (quantity, level)
    matrix : ndarray, shape (m, p)
    offset : ndarray, shape (m,)
        ``matrix @ beta + offset`` is on the outcome's own scale.
    """

    labels: tuple[tuple[str, str], ...]
    matrix: Array
    offset: Array


def linear_estimands(design: Design, *, per_sd: bool = False) -> LinearEstimands:
    """The linear map from standardised coefficients to reported quantities.

    Parameters
    ----------
    design : Design
    per_sd : bool
        Moderator slopes and interactions for one SD of the moderator instead of one point.

    Returns
    -------
    LinearEstimands
        ``intercept`` (mean outcome at the mean baseline, moderator and covariates, arms weighted
        equally), ``baseline_slope``, ``moderator_slope`` (``average`` over arms, and each arm),
        ``arm_contrast`` at the mean of the moderator and ``interaction`` (all pairs, later arm
        minus earlier), ``covariate_slope``. Means are those of the analysed patients.
    """
    scaling, arms = design.scaling, design.arms
    outcome_mean, outcome_sd = scaling.outcome
    position = {name: column for column, name in enumerate(design.coefficients)}
    basis = sum_to_zero_basis(len(arms))
    rows: list[tuple[str, str, Array]] = []

    def add(quantity: str, level: str, weights: dict[str, float], unit: float) -> None:
        row = np.zeros(len(position))
        for name, weight in weights.items():
            row[position[name]] = weight * outcome_sd / unit
        rows.append((quantity, level, row))

    def on_basis(kind: str, weights: Array) -> dict[str, float]:
        return {f"{kind}[{k + 1}]": float(weight) for k, weight in enumerate(weights)}

    moderator_unit = 1.0 if per_sd else scaling.moderator[1]
    interaction = "interaction[1]" in position
    pairs = [(later, earlier) for earlier, later in combinations(range(len(arms)), 2)]
    add("intercept", "", {"intercept": 1.0}, 1.0)
    if design.has_baseline:
        add("baseline_slope", "", {"baseline": 1.0}, scaling.baseline[1])
    add("moderator_slope", "average", {"moderator": 1.0}, moderator_unit)
    if interaction:
        for k, arm in enumerate(arms):
            slope = {"moderator": 1.0} | on_basis("interaction", basis[k])
            add("moderator_slope", arm, slope, moderator_unit)
    for later, earlier in pairs:
        level = f"{arms[later]}-{arms[earlier]}"
        add("arm_contrast", level, on_basis("arm", basis[later] - basis[earlier]), 1.0)
    if interaction:
        for later, earlier in pairs:
            level = f"{arms[later]}-{arms[earlier]}"
            difference = on_basis("interaction", basis[later] - basis[earlier])
            add("interaction", level, difference, moderator_unit)
    for name, (_, unit) in zip(design.covariates, scaling.covariates, strict=True):
        add("covariate_slope", name, {f"covariate[{name}]": 1.0}, unit)

    offset = np.zeros(len(rows))
    offset[0] = outcome_mean
    return LinearEstimands(
        labels=tuple((quantity, level) for quantity, level, _ in rows),
        matrix=np.stack([row for _, _, row in rows]),
        offset=offset,
    )


def scale_estimands(
    design: Design, draws: GaussianDraws, *, per_sd: bool = False
) -> dict[str, Array]:
    """Standard deviations and the therapists' share of variance, on the outcome's own scale.

    Parameters
    ----------
    design : Design
    draws : GaussianDraws
        d draws on the standardised scale.
    per_sd : bool
        The slope's SD for one SD of the moderator instead of one point.

    Returns
    -------
    dict of ndarray, shape (d,)
        ``therapist_sd`` and ``therapist_icc`` at the mean of the moderator,
        ``therapist_slope_sd``, ``residual_sd``; those that the model has.
    """
    outcome_sd = design.scaling.outcome[1]
    moderator_unit = 1.0 if per_sd else design.scaling.moderator[1]
    found: dict[str, Array] = {}
    if draws.therapist_sd is not None:
        found["therapist_sd"] = draws.therapist_sd * outcome_sd
    if draws.therapist_slope_sd is not None:
        found["therapist_slope_sd"] = draws.therapist_slope_sd * outcome_sd / moderator_unit
    if draws.therapist_sd is not None:
        between, within = draws.therapist_sd**2, draws.residual_sd**2
        found["therapist_icc"] = between / (between + within)
    found["residual_sd"] = draws.residual_sd * outcome_sd
    return found


def prior_table(design: Design, priors: Priors, *, per_sd: bool = False) -> pd.DataFrame:
    """Prior of every reported quantity on the outcome's own scale.

    Parameters
    ----------
    design : Design
    priors : Priors
    per_sd : bool
        Moderator slopes and interactions for one SD of the moderator instead of one point.

    Returns
    -------
    pandas.DataFrame
        Columns ``outcome, quantity, level, distribution, location, scale``: ``normal`` with mean
        and SD, or ``half-normal`` with its scale. The therapists' share of variance has no prior
        of its own.
    """
    linear = linear_estimands(design, per_sd=per_sd)
    one = np.ones(1)
    unit = GaussianDraws(
        beta=np.zeros((1, len(design.coefficients))),
        residual_sd=one * priors.residual_sd,
        therapist_sd=one * priors.therapist_sd if design.effects else None,
        therapist_slope_sd=one * priors.therapist_slope_sd if "slope" in design.effects else None,
    )
    scales = scale_estimands(design, unit, per_sd=per_sd)
    scales.pop("therapist_icc", None)
    sd = np.sqrt(linear.matrix**2 @ design.prior_sd(priors) ** 2)
    rows = [
        (*label, "normal", location, scale)
        for label, location, scale in zip(linear.labels, linear.offset, sd, strict=True)
    ]
    rows += [(name, "", "half-normal", 0.0, float(scale[0])) for name, scale in scales.items()]
    table = pd.DataFrame(rows, columns=["quantity", "level", "distribution", "location", "scale"])
    table.insert(0, "outcome", design.outcome)
    return table


def estimand_draws(design: Design, draws: xr.Dataset, *, per_sd: bool = False) -> xr.DataArray:
    """Posterior draws of every reported quantity.

    Parameters
    ----------
    design : Design
    draws : xarray.Dataset
        Posterior of the outcome on the standardised scale.
    per_sd : bool
        Moderator slopes and interactions for one SD of the moderator instead of one point.

    Returns
    -------
    xarray.DataArray
        Dims ``chain, draw, estimand``; coords ``quantity`` and ``level`` along ``estimand``.
    """
    flat = gaussian_draws(draws, design)
    linear = linear_estimands(design, per_sd=per_sd)
    scales = scale_estimands(design, flat, per_sd=per_sd)
    values = np.column_stack([flat.beta @ linear.matrix.T + linear.offset, *scales.values()])
    labels = [*linear.labels, *((name, "") for name in scales)]
    return xr.DataArray(
        values.reshape(draws.sizes["chain"], draws.sizes["draw"], len(labels)),
        dims=("chain", "draw", "estimand"),
        coords={
            "chain": draws["chain"],
            "draw": draws["draw"],
            "quantity": ("estimand", [quantity for quantity, _ in labels]),
            "level": ("estimand", [level for _, level in labels]),
        },
        name="estimand",
    )
