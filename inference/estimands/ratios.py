"""Risks, odds and rates: differences, ratios, and numbers needed to treat.

**Marginal** quantities compare averages over the trial's patients, each imagined in every arm with
an average therapist (`inference.estimands.compared_at`): what a trial of such patients would find
without adjusting. **Conditional** ones compare a patient with an equal one: exponentials of
differences of the linear predictor. Of odds the two differ though nothing is confounded: the
marginal ratio is nearer to one (Greenland, Robins & Pearl 1999, doi:10.1214/ss/1009211805). Of
rates they differ only where the ratio itself differs between patients.

A ratio's mean is here the exponential of the mean of its logarithm, and its SD that of the
logarithm times the mean, as standard errors of ratios are given (delta method): the draws of a
ratio are skewed, and where an arm has no events they need not have a mean at all.

A number needed to treat is one over a risk difference. Where the interval of the difference
includes zero, that of the number runs through infinity, from a benefit to a harm (Altman 1998,
doi:10.1136/bmj.317.7168.1309).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alliance.data_prep.levels import AVERAGE, contrast_names, slope_names
from alliance.data_prep.study.description import Study
from alliance.inference.estimands.ratio_names import (
    CONDITIONAL,
    DIFFERENCES,
    MARGINAL,
    OF_MODERATOR,
    RATIOS,
)
from alliance.inference.posterior import Posterior
from alliance.inference.scores.questions import arm_slopes, link_scale
from alliance.models.design.design import Design
from alliance.models.design.encoding import arm_pairs, sum_to_zero_basis
from alliance.models.priors import Priors

Array = NDArray[np.float64]

LEAST_CHANCE = 1e-12  # a risk is kept so far from 0 and 1 where its odds are taken


def ratio_estimands(
    posterior: Posterior,
    expected: Array,
    alliance: Array,
    moderator_unit: float,
) -> dict[tuple[str, str], Array]:
    """Differences and ratios of risks, odds and rates.

    Parameters
    ----------
    posterior : Posterior
    expected : ndarray, shape (d, K)
        Expected scores of each arm, averaged over the patients.
    alliance : ndarray, shape (d,)
        Standardised, at which two arms are compared for one patient.
    moderator_unit : float
        SD of the moderator for ratios per point, 1 for those per SD.

    Returns
    -------
    dict of (quantity, level) to ndarray, shape (d,)
        Nothing of a family whose predictor is of neither odds nor rates.
    """
    design = posterior.design
    family, kind = design.family.name, design.family.ratio
    if not kind:
        return {}
    names = contrast_names(design.arms)
    pairs = [(names[k, j], k, j) for k, j in arm_pairs(len(design.arms))]
    logs = {
        "risk_ratio": np.log(np.maximum(expected, LEAST_CHANCE)),
        "rate_ratio": np.log(np.maximum(expected, LEAST_CHANCE)),
        "odds_ratio": _log_odds(expected) if family == "binary" else expected,
    }
    found: dict[tuple[str, str], Array] = {}
    if family in DIFFERENCES:
        for level, later, earlier in pairs:
            difference = expected[:, later] - expected[:, earlier]
            found[DIFFERENCES[family], level] = difference
    for quantity in MARGINAL.get(family, ()):
        for level, later, earlier in pairs:
            moved = logs[quantity][:, later] - logs[quantity][:, earlier]
            found[quantity, level] = np.exp(moved)
    predictor = _arm_predictors(posterior, alliance)
    for level, later, earlier in pairs:
        found[CONDITIONAL[kind], level] = np.exp(predictor[:, later] - predictor[:, earlier])
    slopes = design.scale.link_unit * arm_slopes(posterior) / moderator_unit
    moderated, own = list(design.encoding.moderated), slope_names(design.arms)
    if moderated:
        found[OF_MODERATOR[kind], AVERAGE] = np.exp(slopes[:, moderated].mean(axis=1))
    if design.encoding.interaction:
        for k in moderated:
            found[OF_MODERATOR[kind], own[k]] = np.exp(slopes[:, k])
    return found


def _log_odds(chance: Array) -> Array:
    kept = np.clip(chance, LEAST_CHANCE, 1 - LEAST_CHANCE)
    return np.asarray(np.log(kept) - np.log1p(-kept))


def _arm_predictors(posterior: Posterior, alliance: Array) -> Array:
    """What the arms add to a patient's predictor on the link's scale, shape (d, K)."""
    design = posterior.design
    basis = sum_to_zero_basis(len(design.arms)).T
    parts = posterior.beta[:, design.encoding.places("arm")] @ basis
    if design.encoding.without_moderator:
        parts = parts + alliance[:, None] * arm_slopes(posterior)
    elif design.encoding.interaction:  # the average slope is that of every arm
        slopes = posterior.beta[:, design.encoding.places("interaction")] @ basis
        parts = parts + alliance[:, None] * slopes
    return link_scale(design, parts)


def of_logs(quantity: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Whether a quantity's mean and SD are of its logarithm; see the module."""
    return np.isin(quantity, RATIOS)


def ratio_priors(design: Design, priors: Priors, alliance: float) -> list[tuple[Any, ...]]:
    """Log-normal priors of the conditional ratios, in the columns of the table of priors.

    Parameters
    ----------
    design : Design
    priors : Priors
    alliance : float
        Standardised, at which arms are compared.

    Returns
    -------
    list of (quantity, level, distribution, location, scale)
        Location and scale are of the logarithm.
    """
    kind, arms = design.family.ratio, design.arms
    if not kind:
        return []
    basis, names, unit = sum_to_zero_basis(len(arms)), contrast_names(arms), design.scale.link_unit
    interaction = priors.interaction if design.encoding.interaction else 0.0
    weights = design.encoding.slope_weights
    spread = np.full(weights.shape[1], interaction)
    spread[0] = priors.moderator_slope
    rows: list[tuple[Any, ...]] = []
    for later, earlier in arm_pairs(len(arms)):
        apart = np.linalg.norm(basis[later] - basis[earlier])
        along = np.linalg.norm((weights[later] - weights[earlier]) * spread)
        scale = unit * np.hypot(apart * priors.arm, alliance * along)
        rows.append((CONDITIONAL[kind], names[later, earlier], "log-normal", 0.0, float(scale)))
    per = unit / design.scaling.moderator[1]
    if design.has_moderator:
        average = float(per * priors.moderator_slope)
        rows.append((OF_MODERATOR[kind], AVERAGE, "log-normal", 0.0, average))
    if design.encoding.interaction:
        levels = slope_names(arms)
        for k in design.encoding.moderated:
            own = np.linalg.norm(weights[k] * spread)
            rows.append((OF_MODERATOR[kind], levels[k], "log-normal", 0.0, float(per * own)))
    return rows


# --- numbers needed to treat ---------------------------------------------------------------------


def number_in_words(estimate: float, lower: float, upper: float) -> str:
    """A number needed to treat with its interval, from a risk difference that is a benefit above 0.

    Parameters
    ----------
    estimate, lower, upper : float
        Of the risk difference; above zero a benefit.

    Examples
    --------
    >>> number_in_words(0.1, 0.05, 0.125)
    '10 to benefit one (8.0 to 20)'
    >>> number_in_words(0.05, -0.05, 0.125)
    '20 to benefit one (benefit 8.0 to infinity to harm 20)'
    >>> number_in_words(-0.1, -0.2, -0.05)
    '10 to harm one (5.0 to 20)'
    """
    if not all(map(math.isfinite, (estimate, lower, upper))):
        return ""
    side = "benefit" if estimate >= 0 else "harm"
    told = f"{_one_over(estimate)} to {side} one"
    if lower <= 0 <= upper:
        return (
            f"{told} (benefit {_one_over(max(upper, 0.0))} to infinity to harm {_one_over(lower)})"
        )
    ends = sorted([abs(lower), abs(upper)], reverse=True)
    return f"{told} ({_one_over(ends[0])} to {_one_over(ends[1])})"


def _one_over(difference: float) -> str:
    """One over a risk difference, with a decimal below ten."""
    if difference == 0:
        return "infinity"
    value = 1 / abs(difference)
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


NUMBER_COLUMNS = (
    *("outcome", "contrast", "risk_difference", "lower", "upper", "number_needed_to_treat"),
    *("number_upper", "number_lower", "includes_infinity", "words"),
)


def numbers_needed(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """Numbers needed to treat of every contrast of arms of the binary outcomes.

    Parameters
    ----------
    study : Study
    table : pandas.DataFrame
        As from `Fit.summary`.

    Returns
    -------
    pandas.DataFrame
        ``risk_difference, lower, upper`` as benefits of the later arm: turned where the event is
        bad. ``number_needed_to_treat, number_upper, number_lower`` are one over each, negative
        where they are numbers needed to harm; ``includes_infinity``: the interval runs from
        ``number_upper``, a benefit, through infinity to ``number_lower``, a harm; ``words`` say
        it. No rows of outcomes without risks.
    """
    rows = []
    for row in table[table["quantity"] == "risk_difference"].to_dict("records"):
        name = str(row["outcome"])
        turn = 1.0 if study.outcomes[name].better == "higher" else -1.0
        mean = turn * row["mean"]
        lower, upper = sorted([turn * row["lower"], turn * row["upper"]])
        numbers = [1 / each if each else math.inf for each in (mean, upper, lower)]
        crosses = bool(lower <= 0 <= upper)
        told = number_in_words(mean, lower, upper)
        rows.append((name, row["level"], mean, lower, upper, *numbers, crosses, told))
    return pd.DataFrame(rows, columns=list(NUMBER_COLUMNS))
