"""Bias of a linear regression's slope by a variable left out, after Cinelli & Hazlett.

What is left out (Z) is described by two shares of variance: of what remains of the treatment, here
the alliance, after the covariates; and of what remains of the outcome after covariates and
treatment. From these the slope with Z in the regression follows exactly, whatever Z is
(Cinelli & Hazlett 2020, doi:10.1111/rssb.12348).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LinearSlope:
    """A slope from ordinary least squares.

    Attributes
    ----------
    estimate, se : float
    degrees_of_freedom : int
        n - p of the regression without the variable left out.
    """

    estimate: float
    se: float
    degrees_of_freedom: int

    @property
    def t(self) -> float:
        """Estimate over standard error."""
        return self.estimate / self.se

    @property
    def partial_r2(self) -> float:
        """Share of the outcome's remaining variance that the treatment explains."""
        return self.t**2 / (self.t**2 + self.degrees_of_freedom)


def leverage(r2_treatment: Any, r2_outcome: Any) -> Array:
    """What two shares of variance amount to: ``sqrt(r2_outcome r2_treatment/(1-r2_treatment))``.

    Parameters
    ----------
    r2_treatment, r2_outcome : float or array
        Between 0 and 1, the first below it.

    Returns
    -------
    array
        The bias in units of the remaining SD of the outcome over that of the treatment.
    """
    treatment, outcome = np.asarray(r2_treatment, float), np.asarray(r2_outcome, float)
    return np.asarray(np.sqrt(outcome * treatment / (1 - treatment)))


def bias(slope: LinearSlope, r2_treatment: Any, r2_outcome: Any) -> Array:
    """Size of the bias: the difference that Z makes to the estimate.

    Parameters
    ----------
    slope : LinearSlope
    r2_treatment, r2_outcome : float or array
        Partial R2 of Z with the treatment given covariates, and with the outcome given treatment
        and covariates.
    """
    unit = slope.se * np.sqrt(slope.degrees_of_freedom)
    return np.asarray(unit * leverage(r2_treatment, r2_outcome))


def adjusted_estimate(slope: LinearSlope, r2_treatment: Any, r2_outcome: Any) -> Array:
    """Estimate with Z in the regression, Z working in favour of the estimate seen.

    Parameters
    ----------
    slope : LinearSlope
    r2_treatment, r2_outcome : float or array
        As in `bias`.
    """
    size = abs(slope.estimate) - bias(slope, r2_treatment, r2_outcome)
    return np.asarray(np.sign(slope.estimate) * size)


def adjusted_se(slope: LinearSlope, r2_treatment: Any, r2_outcome: Any) -> Array:
    """Standard error with Z in the regression.

    Parameters
    ----------
    slope : LinearSlope
    r2_treatment, r2_outcome : float or array
        As in `bias`.
    """
    df = slope.degrees_of_freedom
    ratio = (1 - np.asarray(r2_outcome, float)) / (1 - np.asarray(r2_treatment, float))
    return np.asarray(slope.se * np.sqrt(ratio * df / (df - 1)))


def robustness(f: Any) -> Array:
    """Equal share of both remaining variances whose `leverage` is `f`.

    Parameters
    ----------
    f : float or array
        Not negative; for the share that carries a slope to zero, its size over the remaining SD of
        the outcome over that of the treatment: ``|t| / sqrt(df)``.
    """
    square = np.asarray(f, float) ** 2
    return np.asarray(0.5 * (np.sqrt(square**2 + 4 * square) - square))


def robustness_value(slope: LinearSlope, q: float = 1.0, alpha: float | None = None) -> float:
    """Share of both remaining variances that Z must explain to take the result away.

    Parameters
    ----------
    slope : LinearSlope
    q : float
        Share of the estimate that is taken away; 1 carries it to zero.
    alpha : float, optional
        Significance level at which the reduced estimate can no longer be told from the hypothesis;
        left out, the estimate itself is meant.

    Returns
    -------
    float
        RV_q, or RV_q,alpha (with the case in which the share of the
        outcome alone binds: Cinelli & Hazlett 2025, doi:10.1093/biomet/asaf004).
    """
    df = slope.degrees_of_freedom
    f = q * abs(slope.t) / np.sqrt(df)
    if alpha is None:
        return float(robustness(f))
    critical = abs(stats.t.ppf(alpha / 2, df - 1)) / np.sqrt(df - 1)
    if f <= critical:
        return 0.0
    if f > 1 / critical:
        return float((f**2 - critical**2) / (1 + f**2))
    return float(robustness(f - critical))


@dataclass(frozen=True, slots=True)
class Strength:
    """How strong something unseen is, as shares of remaining variances.

    Attributes
    ----------
    r2_treatment, r2_outcome : float
    """

    r2_treatment: float
    r2_outcome: float


def benchmark(
    r2_treatment: float, r2_outcome: float, times: float, times_outcome: float | None = None
) -> Strength | None:
    """Bound on a variable that is so many times as strong as an observed covariate.

    As of Cinelli & Hazlett 2020, section 4.

    Parameters
    ----------
    r2_treatment : float
        Partial R2 of the covariate with the treatment, given the other covariates.
    r2_outcome : float
        Partial R2 of the covariate with the outcome, given the treatment and other covariates.
    times : float
        How many times as much of the treatment's variance the unseen variable explains.
    times_outcome : float, optional
        The same of the outcome's; as `times` by default.

    Returns
    -------
    Strength or None
        None where no variable can be so strong: it would explain all of the treatment. A share
        of the outcome beyond one is cut to one.
    """
    outcome_times = times if times_outcome is None else times_outcome
    odds = r2_treatment / (1 - r2_treatment)
    share = times * odds
    if share >= 1 or times * r2_treatment >= 1:
        return None
    overlap = times * r2_treatment**2 / ((1 - times * r2_treatment) * (1 - r2_treatment))
    if overlap >= 1:
        return None
    eta = (np.sqrt(outcome_times) + np.sqrt(overlap)) / np.sqrt(1 - overlap)
    found = eta**2 * r2_outcome / (1 - r2_outcome)
    return Strength(float(share), float(min(1.0, found)))


def least_squares_slope(X: Array, y: Array, column: int) -> LinearSlope:
    """Slope of one column by ordinary least squares.

    Parameters
    ----------
    X : ndarray, shape (n, p)
        Of full rank, n > p.
    y : ndarray, shape (n,)
    column : int
    """
    others = np.delete(X, column, axis=1)
    d, rest = residual(X[:, column], others), residual(y, others)
    df = len(y) - X.shape[1]
    estimate = float(d @ rest / (d @ d))
    variance = float(((rest - estimate * d) ** 2).sum()) / df
    return LinearSlope(estimate, float(np.sqrt(variance / (d @ d))), df)


def residual(values: Array, columns: Array) -> Array:
    """What the columns (n, p) leave of the values (n,)."""
    if not columns.shape[1]:
        return values
    return np.asarray(values - columns @ np.linalg.lstsq(columns, values, rcond=None)[0])


def partial_r2(values: Array, columns: Array, added: Sequence[int]) -> float:
    """Share of what the other columns leave of the values that the added ones explain.

    Parameters
    ----------
    values : ndarray, shape (n,)
    columns : ndarray, shape (n, p)
    added : sequence of int
        Of the columns.
    """
    without = residual(values, np.delete(columns, list(added), axis=1))
    left = residual(values, columns)
    return float(1 - (left @ left) / (without @ without))
