"""Residuals from visit to visit, and who leaves: at random given the scores seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

BY_LAST_SCORE = 0.8  # log odds of leaving for one SD of the last score seen


def autoregressive(
    random: np.random.Generator, patients: int, visits: int, correlation: float
) -> NDArray[np.float64]:
    """Standard normal residuals that are alike from one visit to the next.

    Parameters
    ----------
    random : numpy.random.Generator
    patients, visits : int
    correlation : float
        Of neighbouring visits; its square over two steps, and so on.

    Returns
    -------
    ndarray, shape (patients, visits)
    """
    found = random.standard_normal((patients, visits))
    for visit in range(1, visits):
        own = np.sqrt(1 - correlation**2) * found[:, visit]
        found[:, visit] = correlation * found[:, visit - 1] + own
    return found


def who_left(
    scores: NDArray[np.float64], leaving: float | Sequence[float], generator: np.random.Generator
) -> NDArray[np.bool_]:
    """Scores that are not seen any more, of patients who leave at a visit after the first.

    Parameters
    ----------
    scores : ndarray, shape (n, V)
        NaN where a score is missing anyway. Patients leave the likelier the higher the last one is.
    leaving : float or sequence of float
        Share of the patients who have left by the last visit, from 0 to below 1, with the same
        chance at every visit after the first; or the shares who have left by each of these.
    generator : numpy.random.Generator

    Returns
    -------
    ndarray of bool, shape (n, V)
    """
    n, V = scores.shape
    gone = np.zeros((n, V), dtype=bool)
    if isinstance(leaving, Sequence):
        there = 1 - np.array([0.0, *leaving])
    else:
        there = (1 - leaving) ** (np.arange(V) / (V - 1))
    hazard = 1 - there[1:] / there[:-1]
    last = np.full(n, np.nan)
    for t in range(V):
        if t and hazard[t - 1] > 0:
            apart = np.nan_to_num((last - np.nanmean(last)) / np.nanstd(last))
            chance = _chances(apart, ~gone[:, t - 1], hazard[t - 1])
            gone[:, t] = gone[:, t - 1] | (generator.random(n) < chance)
        elif t:
            gone[:, t] = gone[:, t - 1]
        seen = ~np.isnan(scores[:, t]) & ~gone[:, t]
        last = np.where(seen, scores[:, t], last)
    return gone


def _chances(
    apart: NDArray[np.float64], there: NDArray[np.bool_], mean: float
) -> NDArray[np.float64]:
    """Chances of leaving that average to this over those who are still there."""

    def of(log_odds: float) -> NDArray[np.float64]:
        found: NDArray[np.float64] = special.expit(log_odds + BY_LAST_SCORE * apart)
        return found

    if not there.any():
        return of(0.0)
    middle, widest = special.logit(mean), BY_LAST_SCORE * np.abs(apart).max() + 1
    return of(
        optimize.brentq(lambda x: of(x)[there].mean() - mean, middle - widest, middle + widest)
    )
