"""The linear models again: OLS and REML of the same formula, through the same linear map.

They answer in the names and on the scale of the tidy table, so that a published regression, its
refit and the posterior stand side by side.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import statsmodels.api as sm
import xarray as xr
from numpy.linalg import LinAlgError
from numpy.typing import NDArray
from scipy import stats
from statsmodels.tools.sm_exceptions import ConvergenceWarning

from data_prep.levels import AVERAGE
from data_prep.moments import Moments, therapist_moments
from inference.estimands import LinearEstimands, linear_estimands, spread_estimands
from models.design import Design

Array = NDArray[np.float64]

COLUMNS = (
    "outcome",
    "model",
    "quantity",
    "level",
    "estimate",
    "se",
    "lower",
    "upper",
    "p_value",
    "note",
)
# Powell first: on therapist variances near zero the others often fail (see docs/decisions).
OPTIMISERS = ("powell", "lbfgs", "bfgs", "cg")
# A therapist SD below this share of the residual SD is a variance estimated as zero.
BOUNDARY = 1e-3


@dataclass(frozen=True, eq=False, slots=True)
class LinearFit:
    """Coefficients of one linear model on the standardised scale.

    Attributes
    ----------
    beta, covariance : ndarray, shape (p,) and (p, p)
        Of the columns present in the design.
    scales : xarray.Dataset or None
        Standard deviations as a single draw; None where REML did not converge.
    degrees_of_freedom : float
        Of the t distribution for intervals; infinite for REML's normal ones.
    note : str
        What a reader must know: a boundary, no convergence.
    """

    beta: Array
    covariance: Array
    scales: xr.Dataset | None
    degrees_of_freedom: float
    note: str = ""


def _single_draw(**values: float) -> xr.Dataset:
    return xr.Dataset({name: (("chain", "draw"), [[value]]) for name, value in values.items()})


def ols(X: Array, y: Array) -> LinearFit:
    """Ordinary least squares, therapists ignored.

    Parameters
    ----------
    X : ndarray, shape (n, p)
    y : ndarray, shape (n,)
    """
    result = sm.OLS(y, X).fit()
    scales = _single_draw(residual_sd=float(np.sqrt(result.mse_resid)))
    return LinearFit(result.params, result.cov_params(), scales, float(result.df_resid))


def reml(
    X: Array, y: Array, therapist_index: NDArray[np.int64], columns: Sequence[int]
) -> LinearFit:
    """Linear mixed model by restricted maximum likelihood.

    Parameters
    ----------
    X : ndarray, shape (n, p)
    y : ndarray, shape (n,)
    therapist_index : ndarray of int, shape (n,)
    columns : sequence of int
        Columns of X whose coefficients vary between therapists.

    Returns
    -------
    LinearFit
        With NaN coefficients and a note where no optimiser converged. Standard errors are those
        of generalised least squares at the estimated variances, as in most software for mixed
        models (Laird & Ware 1982, doi:10.2307/2529876).
    """
    model = sm.MixedLM(y, X, groups=therapist_index, exog_re=X[:, list(columns)])
    for method in OPTIMISERS:
        with warnings.catch_warnings():
            # Convergence is judged by the result; a boundary is reported in the note.
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            warnings.simplefilter("ignore", UserWarning)
            try:
                result = model.fit(reml=True, method=[method])
            except (LinAlgError, ValueError):
                continue
        if result.converged and np.isfinite(result.fe_params).all():
            break
    else:
        size = X.shape[1]
        return LinearFit(
            np.full(size, np.nan),
            np.full((size, size), np.nan),
            None,
            np.inf,
            f"REML did not converge with {', '.join(OPTIMISERS)}",
        )
    beta, therapist_covariance = np.asarray(result.fe_params), np.asarray(result.cov_re)
    # statsmodels' own covariance is the inverse of a Hessian over coefficients and variances
    # together, which means nothing where a variance stands on its boundary.
    moments = therapist_moments(X, y, therapist_index, int(therapist_index.max()) + 1)
    covariance = _gls_covariance(moments, columns, therapist_covariance, result.scale)
    sds = np.sqrt(np.diag(therapist_covariance).clip(min=0))
    residual_sd = float(np.sqrt(result.scale))
    smallest = np.sqrt(max(0.0, np.linalg.eigvalsh(therapist_covariance)[0]))
    note = ""
    if smallest < BOUNDARY * residual_sd:
        note = (
            "REML estimate on the boundary: a therapist variance is zero"
            if len(sds) == 1
            else "REML estimate on the boundary: the therapist covariance is singular"
        )
    names = ("therapist_sd", "therapist_slope_sd")
    scales = _single_draw(**dict(zip(names, sds, strict=False)), residual_sd=residual_sd)
    return LinearFit(beta, covariance, scales, np.inf, note)


def _gls_covariance(
    moments: Moments, columns: Sequence[int], therapist_covariance: Array, residual_variance: float
) -> Array:
    """Covariance (X' V^-1 X)^-1 of the coefficients, with V^-1 by Woodbury's identity.

    With LL' the therapist covariance over the residual variance, therapist j takes
    X'Z L (I + L'Z'Z L)^-1 L'Z'X away from X'X.
    """
    values, vectors = np.linalg.eigh(therapist_covariance / residual_variance)
    L = vectors * np.sqrt(values.clip(min=0))
    whitened = L.T @ moments.ZtX(columns)
    inner = np.eye(len(values)) + L.T @ moments.ZtZ(columns) @ L
    explained = np.einsum("jqp,jqr->pr", whitened, np.linalg.solve(inner, whitened))
    return np.asarray(residual_variance * np.linalg.inv(moments.XtX - explained))


def refit(design: Design, *, interval: float = 0.95) -> pd.DataFrame:
    """Linear models of one outcome.

    Parameters
    ----------
    design : Design
    interval : float
        Probability of the confidence intervals.

    Returns
    -------
    pandas.DataFrame
        Columns as in `COLUMNS`; models ``ols`` (with the arm by moderator interaction),
        ``ols_main`` (without it) and, where therapist effects are part of the model, ``reml``.
        OLS intervals are from Student's t, REML's from the normal distribution.
    """
    tables = []
    interactions = design.encoding.places("interaction")
    main = [k for k in design.present if k not in interactions]
    y = design.y
    for name, columns in {"ols": design.present, "ols_main": main}.items():
        fit = ols(design.X[:, columns], y)
        tables.append(_table(design, name, columns, fit, interval))
    if design.effects:
        columns = design.present
        varying = [columns.index(column) for column in design.effect_columns]
        fit = reml(design.X[:, columns], y, design.therapist_index, varying)
        tables.append(_table(design, "reml", columns, fit, interval))
    return pd.concat(tables, ignore_index=True)


def _table(
    design: Design, model: str, columns: Sequence[int], fit: LinearFit, interval: float
) -> pd.DataFrame:
    linear = _available(linear_estimands(design), columns, len(design.coefficients))
    matrix = linear.matrix[:, list(columns)]
    estimate = matrix @ fit.beta + linear.offset
    variance = np.einsum("mp,pq,mq->m", matrix, fit.covariance, matrix)
    se = np.sqrt(variance.clip(min=0))
    distribution = stats.t(fit.degrees_of_freedom)  # normal where they are infinite
    half = distribution.ppf((1 + interval) / 2) * se
    table = pd.DataFrame(
        {
            "quantity": [quantity for quantity, _ in linear.labels],
            "level": [level for _, level in linear.labels],
            "estimate": estimate,
            "se": se,
            "lower": estimate - half,
            "upper": estimate + half,
            "p_value": 2 * distribution.sf(np.abs(estimate) / se),
        }
    )
    if fit.scales is not None:
        outcome_sd, moderator_sd = design.scaling.outcome[1], design.scaling.moderator[1]
        variance = (outcome_sd * fit.scales["residual_sd"].values.ravel()) ** 2
        scales = spread_estimands(fit.scales, np.array([outcome_sd]), variance, moderator_sd)
        rows = [
            {"quantity": name, "level": level, "estimate": float(value[0])}
            for (name, level), value in scales.items()
        ]
        table = pd.concat([table, pd.DataFrame(rows)], ignore_index=True)
    table = table.assign(outcome=design.outcome, model=model, note=fit.note)
    return table[list(COLUMNS)]


def _available(linear: LinearEstimands, columns: Sequence[int], size: int) -> LinearEstimands:
    """The quantities that a model with only some of the columns speaks of."""
    left_out = [column for column in range(size) if column not in columns]
    average = ("moderator_slope", AVERAGE)
    keep = [
        row
        for row, label in enumerate(linear.labels)
        if label == average or not np.any(linear.matrix[row, left_out])
    ]
    return LinearEstimands(
        labels=tuple(linear.labels[row] for row in keep),
        matrix=linear.matrix[keep],
        offset=linear.offset[keep],
    )
