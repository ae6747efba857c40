"""Single patients around their expected scores: outcomes at a rank, and chances beyond a bound.

A patient's outcome is what the family says at the patient's rank: the share of the distribution,
given expected score and parameters, that lies below. The rank is drawn once for each posterior draw
and patient and kept from arm to arm, so that two arms are compared for one and the same patient.
Continuous families and ordered categories keep the residual itself (the same normal, t or logistic
deviate of the score or of the latent variable), which is the same rank; bounded whole scores take
the quantile at the same uniform number. No trial can tell how the two outcomes of one patient go
together: chances that one is better than the other rest on this assumption, expected scores do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from alliance.inference.draws.blocks import by_columns
from alliance.models.design.design import Design
from alliance.models.families.family import Auxiliary

Array = NDArray[np.float64]

ROUNDING = 1e-9
# Distribution functions of the latent variables of ordered categories.
LATENT: dict[str, Callable[[Array], Array]] = {
    "cumulative logit": special.expit,
    "cumulative probit": special.ndtr,
}


def residual_draws(
    design: Design, auxiliary: Auxiliary, shape: tuple[int, int], generator: np.random.Generator
) -> Array:
    """Draw what places a patient within the outcome's distribution.

    Parameters
    ----------
    design : Design
    auxiliary : mapping of str to ndarray
        The family's own parameters.
    shape : tuple of int
        d draws and n patients.
    generator : numpy.random.Generator
        Used patient after patient, so that the draws do not depend on the blocks they come in.

    Returns
    -------
    ndarray, shape (d, n)
        Standardised residuals; uniform numbers for bounded whole scores.
    """
    draws, patients = shape
    turned = (patients, draws)
    if "degrees_of_freedom" in auxiliary:
        freedom = np.broadcast_to(auxiliary["degrees_of_freedom"].T, turned)
        return generator.standard_t(freedom).T
    link = design.family.link
    if link in ("identity", "cumulative probit"):
        return generator.standard_normal(turned).T
    if link == "cumulative logit":
        return generator.logistic(size=turned).T
    return generator.random(turned).T


def scores_at(design: Design, auxiliary: Auxiliary, eta: Array, residual: Array) -> Array:
    """Outcomes of patients at their rank, on the outcome's own scale.

    Parameters
    ----------
    design : Design
    auxiliary : mapping of str to ndarray
    eta : ndarray, shape (d, r)
        On the scale of the family's link.
    residual : ndarray, shape (d, r)
        As from `residual_draws`, a column for each row.

    Returns
    -------
    ndarray, shape (d, r)
    """
    scale = design.scale
    if design.family.link == "identity":
        own = eta + auxiliary["residual_sd"] * residual
    elif "cutpoint" in auxiliary:
        own = by_columns(
            eta.shape, lambda some: _category(eta[:, some] + residual[:, some], auxiliary)
        )
    else:
        precision = auxiliary["precision"]
        own = by_columns(
            eta.shape, lambda some: _quantile(eta[:, some], precision, scale.top, residual[:, some])
        )
    return scale.offset + scale.unit * own


def chance_at_least(design: Design, auxiliary: Auxiliary, eta: Array, bound: Array) -> Array:
    """Probability of a score of at least `bound`, given expected score and parameters.

    Parameters
    ----------
    design : Design
    auxiliary : mapping of str to ndarray
    eta : ndarray, shape (d, r)
        On the scale of the family's link.
    bound : ndarray, shape (r,)
        On the outcome's own scale.

    Returns
    -------
    ndarray, shape (d, r)
    """
    scale = design.scale
    own = (bound - scale.offset) / scale.unit
    if design.family.discrete:
        return _chance_from_category(design, auxiliary, eta, np.ceil(own - ROUNDING).astype(int))
    standard = (eta - own) / auxiliary["residual_sd"]
    if "degrees_of_freedom" in auxiliary:
        return np.asarray(special.stdtr(auxiliary["degrees_of_freedom"], standard))
    return np.asarray(special.ndtr(standard))


def chance_at_most(design: Design, auxiliary: Auxiliary, eta: Array, bound: Array) -> Array:
    """Probability of a score of at most `bound`: see `chance_at_least`."""
    if not design.family.discrete:
        return 1 - chance_at_least(design, auxiliary, eta, bound)
    own = (bound - design.scale.offset) / design.scale.unit
    above = np.floor(own + ROUNDING).astype(int) + 1
    return 1 - _chance_from_category(design, auxiliary, eta, above)


def _chance_from_category(
    design: Design, auxiliary: Auxiliary, eta: Array, category: NDArray[np.int64]
) -> Array:
    top = design.scale.top
    inside = np.clip(category, 1, top)
    if "cutpoint" in auxiliary:
        chance = LATENT[design.family.link](eta - auxiliary["cutpoint"][:, inside - 1])
    else:
        precision = auxiliary["precision"]
        chance = by_columns(
            eta.shape, lambda some: _upper_tail(eta[:, some], precision, top, inside[some])
        )
    return np.where(category < 1, 1.0, np.where(category > top, 0.0, chance))


def _category(latent: Array, auxiliary: Auxiliary) -> Array:
    """How many cutpoints lie below the latent variable."""
    found = np.zeros_like(latent)
    for cutpoint in auxiliary["cutpoint"].T:
        found += latent > cutpoint[:, None]
    return found


def _cumulative(eta: Array, precision: Array, top: int) -> Iterator[Array]:
    """``P(y <= k)`` of a beta-binomial for k = 0, 1, .. below `top`; for eta up to 0.

    By the ratio of neighbouring probabilities. From the end that the mean is nearer to, the first
    of them does not underflow: it is at least ``2 ** -top``. The array is changed in place.
    """
    a, b = special.expit(eta) * precision, special.expit(-eta) * precision
    log_first = (
        special.gammaln(top + b)
        - special.gammaln(b)
        + special.gammaln(precision)
        - special.gammaln(top + precision)
    )
    mass = np.exp(log_first)
    total = mass.copy()
    for k in range(top):
        yield total
        mass *= a
        mass *= (top - k) / (k + 1)
        mass /= b + (top - k - 1)  # not counted down in place: a small b would be rounded away
        total += mass
        a += 1


def _quantile(eta: Array, precision: Array, top: int, uniform: Array) -> Array:
    turned = eta > 0  # counted from the upper end
    rank = np.where(turned, 1 - uniform, uniform)
    found = np.zeros_like(eta)
    for total in _cumulative(-np.abs(eta), precision, top):
        beyond = total < rank
        if not beyond.any():
            break
        found += beyond
    return np.where(turned, top - found, found)


def _upper_tail(eta: Array, precision: Array, top: int, category: Any) -> Array:
    """``P(y >= category)`` for categories from 1 to `top`, one for each column."""
    turned = eta > 0
    last = np.where(turned, top - category, category - 1)  # the last one counted
    found, wanted = np.zeros_like(eta), {*(top - category), *(category - 1)}
    for k, total in enumerate(_cumulative(-np.abs(eta), precision, top)):
        if k in wanted:
            np.copyto(found, total, where=last == k)
            wanted.discard(k)
        if not wanted:
            break
    return np.where(turned, found, 1 - found)
