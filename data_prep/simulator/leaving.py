"""Who leaves a simulated trial: at random given the scores seen, and not completely at random."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

BY_LAST_SCORE = 0.8  # log odds of leaving for one SD of the last score seen


def who_left(
    scores: NDArray[np.float64], leaving: float, generator: np.random.Generator
) -> NDArray[np.bool_]:
    """Scores that are not seen any more, of patients who leave at a visit after the first.

    Parameters
    ----------
    scores : ndarray, shape (n, V)
        NaN where a score is missing anyway. Patients leave the likelier the higher the last one is.
    leaving : float
        Share of the patients who leave before the last visit, from 0 to below 1.
    generator : numpy.random.Generator

    Returns
    -------
    ndarray of bool, shape (n, V)
    """
    n, V = scores.shape
    gone = np.zeros((n, V), dtype=bool)
    if not leaving:
        return gone
    hazard = 1 - (1 - leaving) ** (1 / (V - 1))
    last = np.full(n, np.nan)
    for t in range(V):
        if t:
            apart = np.nan_to_num((last - np.nanmean(last)) / np.nanstd(last))
            chance = _chances(apart, ~gone[:, t - 1], hazard)
            gone[:, t] = gone[:, t - 1] | (generator.random(n) < chance)
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
