"""What is reported: slopes, contrasts and standard deviations on the outcome's own scale.

Posterior draws and linear-model refits pass through the same linear map from standardised
coefficients to reported quantities, so that they can be set side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from data_prep.levels import AVERAGE, BETWEEN, WITHIN, contrast_names, slope_names
from inference.expected_scores import (
    average_response,
    coefficients,
    flat,
    response_estimands,
)
from models.design import Design, arm_pairs, sum_to_zero_basis
from models.joint import slope_scales
from models.priors import Priors
from models.spec import JOINT

Array = NDArray[np.float64]

# Quantities that no data can make negative: their sign says nothing.
SCALE_QUANTITIES = (
    "therapist_sd",
    "therapist_slope_sd",
    "therapist_arm_sd",
    "therapist_icc",
    "therapist_mean_reliability",
    "residual_sd",
    "degrees_of_freedom",
    "moderator_slope_spread",
)


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
    interaction = design.encoding.interaction
    pairs = arm_pairs(len(arms))
    add("intercept", "", {"intercept": 1.0}, 1.0)
    if design.has_baseline:
        add("baseline_slope", "", {"baseline": 1.0}, scaling.baseline[1])
    names = contrast_names(arms)
    add("moderator_slope", AVERAGE, {"moderator": 1.0}, moderator_unit)
    if interaction:
        for k, name in enumerate(slope_names(arms)):
            slope = {"moderator": 1.0} | on_basis("interaction", basis[k])
            add("moderator_slope", name, slope, moderator_unit)
    for later, earlier in pairs:
        difference = on_basis("arm", basis[later] - basis[earlier])
        add("arm_contrast", names[later, earlier], difference, 1.0)
    if interaction:
        for later, earlier in pairs:
            difference = on_basis("interaction", basis[later] - basis[earlier])
            add("interaction", names[later, earlier], difference, moderator_unit)
    columns = design.encoding.places("covariate")
    for k, name, unit in design.encoding.seen_columns:
        add("covariate_slope", name, {design.coefficients[columns[k]]: 1.0}, unit)

    offset = np.zeros(len(rows))
    offset[0] = outcome_mean
    return LinearEstimands(
        labels=tuple((quantity, level) for quantity, level, _ in rows),
        matrix=np.stack([row for _, _, row in rows]),
        offset=offset,
    )


def spread_estimands(
    draws: xr.Dataset,
    slope: Array,
    variance: Array,
    moderator_unit: float,
) -> dict[tuple[str, str], Array]:
    """Standard deviations and the therapists' share of variance, on the outcome's own scale.

    Parameters
    ----------
    draws : xarray.Dataset
        d draws of ``therapist_sd`` and the others, on the predictor's scale.
    slope : ndarray, shape (d,)
        Change of the expected score for one SD on the predictor's scale: the outcome's SD where
        the link is the identity. Spreads between therapists are to first order in their effects.
    variance : ndarray, shape (d,)
        Variance of a score given its patient and an average therapist. A Student-t outcome
        reports the square of its scale instead, since its variance may not exist.
    moderator_unit : float
        SD of the moderator for the slope's SD per point, 1 for that per SD.

    Returns
    -------
    dict of (quantity, level) to ndarray, shape (d,)
        ``therapist_sd`` and ``therapist_icc`` at the mean of the moderator,
        ``therapist_slope_sd``, ``therapist_arm_sd`` (of arm effects between therapists),
        ``residual_sd``, ``degrees_of_freedom``; those that the model has.
    """
    found: dict[tuple[str, str], Array] = {}
    if "therapist_sd" in draws:
        between = slope * flat(draws, "therapist_sd")
        found["therapist_sd", ""] = between
        if "therapist_slope_sd" in draws:
            found["therapist_slope_sd", ""] = (
                slope * flat(draws, "therapist_slope_sd") / moderator_unit
            )
        if "therapist_arm_sd" in draws:
            found["therapist_arm_sd", ""] = slope * flat(draws, "therapist_arm_sd")
        found["therapist_icc", ""] = between**2 / (between**2 + variance)
    found["residual_sd", ""] = np.sqrt(variance)
    if "degrees_of_freedom" in draws:
        found["degrees_of_freedom", ""] = flat(draws, "degrees_of_freedom")
    return found


def alliance_estimands(
    design: Design, draws: xr.Dataset, slope: Array, moderator_unit: float
) -> dict[tuple[str, str], Array]:
    """What a model of the alliance itself adds: slopes within and between, and its reliability.

    Parameters
    ----------
    design : Design
    draws : xarray.Dataset
    slope : ndarray, shape (d,)
        As in `spread_estimands`.
    moderator_unit : float

    Returns
    -------
    dict of (quantity, level) to ndarray, shape (d,)
        ``moderator_slope`` of level ``within`` and ``between``, their difference
        ``contextual_effect``, and ``therapist_mean_reliability``: the share of the variance of
        observed therapist means that is true, averaged over the therapists (Snijders & Bosker
        2012, section 3.5). Empty unless the alliance is taken apart.
    """
    if "moderator_slope_between" not in draws:
        return {}
    within = slope * coefficients(draws, design)["moderator"] / moderator_unit
    between = slope * flat(draws, "moderator_slope_between") / moderator_unit
    true = flat(draws, "moderator_therapist_sd")[:, None] ** 2
    noise = flat(draws, "moderator_residual_sd")[:, None] ** 2
    if design.moderator.reliability is not None:
        noise = noise + 1 - design.moderator.reliability
    rated = design.moments.count
    if design.given is None:
        rated = np.bincount(
            design.therapist_index[~design.moderator_missing], minlength=len(design.therapists)
        )
    seen = rated[rated > 0]
    return {
        ("moderator_slope", WITHIN): within,
        ("moderator_slope", BETWEEN): between,
        ("contextual_effect", ""): between - within,
        ("therapist_mean_reliability", ""): (true / (true + noise / seen)).mean(axis=1),
    }


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
        of its own, nor has an ordinal outcome's intercept. Where the link is curved, scales are
        to first order: one SD of the predictor counts as one SD of the scores.
    """
    linear = linear_estimands(design, per_sd=per_sd)
    sd = np.sqrt(linear.matrix**2 @ design.prior_sd(priors) ** 2)
    rows = [
        (*label, "normal", location, scale)
        for label, location, scale in zip(linear.labels, linear.offset, sd, strict=True)
        if label != ("intercept", "") or design.family.has_intercept
    ]
    outcome_sd = design.scaling.outcome[1]
    slope_unit = outcome_sd / (1.0 if per_sd else design.scaling.moderator[1])
    if design.moderator.structure == "within_between":
        between = slope_unit * priors.moderator_slope
        rows.append(("moderator_slope", BETWEEN, "normal", 0.0, between))
    scales = {
        "therapist_sd": ("intercept", outcome_sd * priors.therapist_sd),
        "therapist_slope_sd": ("slope", slope_unit * priors.therapist_slope_sd),
        "therapist_arm_sd": ("arm[1]", outcome_sd * priors.therapist_arm_sd),
    }
    rows += [
        (name, "", "half-normal", 0.0, scale)
        for name, (effect, scale) in scales.items()
        if effect in design.effects
    ]
    if design.family.link == "identity":
        residual = outcome_sd * priors.residual_sd
        rows.append(("residual_sd", "", "half-normal", 0.0, residual))
    table = pd.DataFrame(rows, columns=["quantity", "level", "distribution", "location", "scale"])
    table.insert(0, "outcome", design.outcome)
    return table


def shared_prior_table(priors: Priors) -> pd.DataFrame:
    """Priors of what the outcomes of a joint model share, in the columns of `prior_table`.

    The correlations between outcomes have an LKJ prior, which is no distribution of one number.
    """
    pooled, spread = slope_scales(priors)
    rows = [
        (JOINT, "pooled_moderator_slope", "", "normal", 0.0, pooled),
        (JOINT, "moderator_slope_spread", "", "half-normal", 0.0, spread),
    ]
    columns = ["outcome", "quantity", "level", "distribution", "location", "scale"]
    return pd.DataFrame(rows, columns=columns)


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
    moderator_unit = 1.0 if per_sd else design.scaling.moderator[1]
    if design.family.link == "identity":
        beta = np.stack(list(coefficients(draws, design).values()), axis=1)
        linear = linear_estimands(design, per_sd=per_sd)
        found = dict(
            zip(linear.labels, linear.matrix @ beta.T + linear.offset[:, None], strict=True)
        )
        slope = np.full(len(beta), design.scaling.outcome[1])
        variance = (slope * flat(draws, "residual_sd")) ** 2
    else:
        response = average_response(design, draws)
        found = response_estimands(design, draws, response, moderator_unit)
        slope, variance = response.slope.mean(axis=1), response.variance
    found |= alliance_estimands(design, draws, slope, moderator_unit)
    found |= spread_estimands(draws, slope, variance, moderator_unit)
    return _estimands(found, draws)


def shared_estimands(draws: xr.Dataset) -> xr.DataArray:
    """Draws of what the outcomes share, as reported quantities.

    Parameters
    ----------
    draws : xarray.Dataset
        What `inference.joint.sample_joint` gives for all outcomes.

    Returns
    -------
    xarray.DataArray
        Dims ``chain, draw, estimand``; coords ``quantity`` and ``level`` along ``estimand``.
        ``pooled_moderator_slope``: SDs of benefit for one SD of the moderator, averaged over
        outcomes like these; ``moderator_slope_spread``: SD of the outcomes' slopes around it;
        correlations between outcomes of residuals and of therapist effects, level ``A-B``.
    """
    found = {}
    for name, values in draws.data_vars.items():
        levels = draws["pair"].values if "pair" in values.dims else [""]
        parts = values.transpose("chain", "draw", ...).values.reshape(*values.shape[:2], -1)
        for number, level in enumerate(levels):
            found[str(name), str(level)] = parts[..., number]
    return _estimands(found, draws)


def _estimands(found: dict[tuple[str, str], Array], draws: xr.Dataset) -> xr.DataArray:
    """Draws of reported quantities, flat or by chain, under their names."""
    shape = (draws.sizes["chain"], draws.sizes["draw"], len(found))
    return xr.DataArray(
        np.stack(list(found.values()), axis=-1).reshape(shape),
        dims=("chain", "draw", "estimand"),
        coords={
            "chain": draws["chain"],
            "draw": draws["draw"],
            "quantity": ("estimand", [quantity for quantity, _ in found]),
            "level": ("estimand", [level for _, level in found]),
        },
        name="estimand",
    )
