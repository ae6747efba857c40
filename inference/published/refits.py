"""The linear models again: OLS and REML of the same formula, through the same linear map.

They answer in the names and on the scale of the tidy table, so that a published regression, its
refit and the posterior stand side by side. Cross-products by therapist are all that they need.

Standard errors of ordinary least squares that allow for clusters, from their cross-products.

The bias-reduced linearisation CR2 (Bell & McCaffrey 2002; Pustejovsky & Tipton 2018,
doi:10.1080/07350015.2016.1247004) takes the residuals e_j of each cluster times
A_j = (I - X_j M X_j')^(-1/2), M = (X'X)^-1, so that the covariance

    M (sum_j X_j'A_j e_j e_j'A_j X_j) M

has no bias where scores are independent with one variance. With M = RR' and T_j = X_j R, the
product X_j'A_j is R'^-1 (I - T_j'T_j)^(-1/2) T_j': p x p matrices of each cluster are enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from alliance.data_prep.levels import AVERAGE
from alliance.data_prep.moments import Moments, therapist_moments
from alliance.inference.estimands.estimands import (
    LinearEstimands,
    linear_estimands,
    spread_estimands,
)
from alliance.inference.published.restricted_levels import LevelsLikelihood
from alliance.inference.published.restricted_likelihood import RestrictedLikelihood
from alliance.inference.published.unequal_residuals import UnequalLikelihood
from alliance.models.design.design import Design
from alliance.models.nesting import RESIDUAL_GROUP, Nesting

Array = NDArray[np.float64]

# Least share of a direction in which a cluster leaves residuals; without any, as where a column is
# the cluster's own, the generalised inverse leaves the direction out.
LEAST = 1e-10


@dataclass(frozen=True, eq=False, slots=True)
class ClusterRobust:
    """Covariance of the coefficients, and what the degrees of freedom are made of.

    Attributes
    ----------
    covariance : ndarray, shape (p, p)
    """

    covariance: Array
    _R: Array
    _squares: Array  # T_j'T_j
    _root: Array  # (I - T_j'T_j)^(-1/2)

    def degrees_of_freedom(self, contrasts: Array) -> Array:
        """Bell and McCaffrey's degrees of freedom of linear combinations of the coefficients.

        Satterthwaite's, of the variance estimate as a quadratic form in independent normal scores.

        Parameters
        ----------
        contrasts : ndarray, shape (m, p)

        Returns
        -------
        ndarray, shape (m,)
        """
        # The form is sum_j (g_j'y)^2; g_i'g_j = [i = j] w_j'S_j w_j - w_i'S_i S_j w_j
        w = np.einsum("jab,mb->mja", self._root, contrasts @ self._R)
        q = np.einsum("jab,mjb->mja", self._squares, w)
        own = np.einsum("mja,mja->mj", w, q)
        lengths = np.einsum("mja,mja->mj", q, q)
        crossed = np.einsum("mja,mjb->mab", q, q)
        trace = (own - lengths).sum(axis=1)
        squares = (own**2 - 2 * own * lengths).sum(axis=1) + (crossed**2).sum(axis=(1, 2))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(trace**2 / squares)


def cluster_robust(moments: Moments) -> ClusterRobust:
    """CR2 of an ordinary regression.

    Parameters
    ----------
    moments : Moments
        Cross-products, by cluster, of the columns and of the regression's residuals.

    Returns
    -------
    ClusterRobust
    """
    # R'^-1 is the Cholesky factor of X'X, and M = RR'
    R = np.linalg.inv(np.linalg.cholesky(moments.XtX)).T
    squares = R.T @ moments.cross_products[:, :-1, :-1] @ R
    values, vectors = np.linalg.eigh(squares)
    left = 1 - values
    powers = np.where(left > LEAST, left.clip(min=LEAST) ** -0.5, 0.0)
    root = (vectors * powers[:, None, :]) @ vectors.mT
    scores = np.einsum("jab,bc,jc->ja", root, R.T, moments.cross_products[:, :-1, -1])
    covariance = R @ (scores.T @ scores) @ R.T
    return ClusterRobust(covariance, R, squares, root)


COLUMNS = (
    "outcome",
    "model",
    "quantity",
    "level",
    "estimate",
    "se",
    "df",
    "lower",
    "upper",
    "p_value",
    "note",
)
BOUNDARY = 1e-3  # an SD between therapists below this share of the residual SD is one of zero
PERFECT = 0.999  # a correlation beyond this one is one of -1 or 1
# Least share of the outcome's variance that a fit leaves: rounding leaves less of an exact one.
LEAST_LEFT = 1e-13


@dataclass(frozen=True, eq=False, slots=True)
class LinearFit:
    """Coefficients of one linear model on the standardised scale.

    Attributes
    ----------
    beta, covariance : ndarray, shape (p,) and (p, p)
        Of the columns present in the design.
    scales : xarray.Dataset or None
        Standard deviations as a single draw; None where they were not estimated.
    degrees_of_freedom : callable
        From linear combinations of the coefficients, shape (m, p), to the degrees of freedom of
        their t distributions, shape (m,).
    note : str
        What a reader must know: a boundary, no estimate.
    """

    beta: Array
    covariance: Array
    scales: xr.Dataset | None
    degrees_of_freedom: Callable[[Array], Array]
    note: str = ""


def refit(
    design: Design, *, interval: float = 0.95, robust: bool = False, at: float | None = None
) -> pd.DataFrame:
    """Linear models of one outcome.

    Parameters
    ----------
    design : Design
        With patients' rows, or with nothing but their cross-products.
    interval : float
        Probability of the confidence intervals.
    robust : bool
        Whether OLS is given with standard errors that allow for therapists, too.
    at : float, optional
        Alliance, in its own points, at which arms are compared; by default the mean of the
        design's patients.

    Returns
    -------
    pandas.DataFrame
        Columns as in `COLUMNS`; models ``ols`` (with the arm by moderator interaction) and, where
        two arms have the moderator, ``ols_main`` (without it), ``ols_robust`` (``ols`` with
        cluster-robust standard errors, see `inference.published.refits`) if asked for and, where
        therapist effects are part of the model, ``reml`` (see
        `inference.published.restricted_likelihood`). All intervals are from Student's t with the
        degrees of freedom ``df``: n - p for OLS, Bell and McCaffrey's for the robust standard
        errors, Satterthwaite's for REML.
    """
    centre, sd = design.scaling.moderator
    alliance = 0.0 if at is None else (at - centre) / sd
    interactions = design.encoding.places("interaction")
    main = [k for k in design.present if k not in interactions]
    fits: dict[str, tuple[list[int], Callable[[Sequence[Moments]], LinearFit]]] = {
        "ols": (design.present, lambda groups: ols(_whole(groups)))
    }
    if len(design.encoding.moderated) > 1:  # else no slopes can differ
        fits["ols_main"] = (main, lambda groups: ols(_whole(groups)))
    if robust and design.therapists:
        fits["ols_robust"] = (design.present, lambda _: _robust(design))
    if design.clinic_effects:
        fits["reml"] = (design.present, lambda _: _reml_with_clinics(design))
    elif design.effects:
        varying = [design.present.index(column) for column in design.effect_columns]
        known = len(design.therapists)
        fits["reml"] = (design.present, lambda groups: reml(groups, varying, known))
    tables = []
    for name, (columns, fit_to) in fits.items():
        beta, groups = _about_least_squares(design, columns)
        fit = fit_to(groups)
        tables.append(_table(design, name, columns, beta, fit, interval, alliance))
    return pd.concat(tables, ignore_index=True)


def _about_least_squares(
    design: Design, columns: Sequence[int]
) -> tuple[Array, tuple[Moments, ...]]:
    """Least squares of some columns, and the moments of these columns and the residuals, by group.

    No digits are lost to the part of the outcome that the columns explain.
    """
    if design.given is None:
        X = design.X[:, columns]
        beta = np.linalg.lstsq(X, design.y)[0]
        residuals = design.y - X @ beta
        places = [np.arange(len(X))]
        if design.nesting.number > 1:
            groups = range(design.nesting.number)
            places = [np.flatnonzero(design.residual_group == group) for group in groups]
        return beta, tuple(
            therapist_moments(X[own], residuals[own], design.therapist_index[own], design.units)
            for own in places
        )
    kept = np.array([*columns, len(design.coefficients)])
    products = design.moments.cross_products[:, kept[:, None], kept].sum(axis=0)
    beta = np.linalg.solve(products[:-1, :-1], products[:-1, -1])
    A = np.eye(len(kept))
    A[:-1, -1] = -beta
    return beta, tuple(
        Moments(A.T @ each.cross_products[:, kept[:, None], kept] @ A, each.count.copy())
        for each in design.group_moments
    )


def _whole(groups: Sequence[Moments]) -> Moments:
    """Moments of all groups together."""
    return groups[0] if len(groups) == 1 else reduce(Moments.merge, groups)


def _robust(design: Design) -> LinearFit:
    """`ols_robust`, in which every patient without a therapist is a cluster of his own."""
    known = len(design.therapists)
    alone = np.flatnonzero(design.therapist_index == known)
    if design.given is not None:
        _, groups = _about_least_squares(design, design.present)
        moments = _whole(groups)
        if design.nesting.without:
            why = (
                "OLS, robust, has no standard errors: patients without therapists are known by "
                "their cross-products alone"
            )
            return _missing(moments, why)
        return ols_robust(moments)
    X = design.X[:, design.present]
    residuals = design.y - X @ np.linalg.lstsq(X, design.y)[0]
    clusters = design.therapist_index.copy()
    clusters[alone] = known + np.arange(len(alone))
    return ols_robust(therapist_moments(X, residuals, clusters, known + len(alone)))


def ols(moments: Moments) -> LinearFit:
    """Ordinary least squares, therapists ignored.

    Parameters
    ----------
    moments : Moments
        Of columns and outcome, or of columns and the residuals of least squares; the coefficients
        are then those of the residuals, which are zero.
    """
    XtX = moments.XtX
    beta = np.linalg.solve(XtX, moments.Xty)
    spare = moments.n - len(XtX)
    variance = max(0.0, float(moments.yty - moments.Xty @ beta) / spare)
    scales = _single_draw(residual_sd=float(np.sqrt(variance)))
    inverse = np.linalg.inv(XtX)
    covariance = variance * (inverse + inverse.T) / 2
    return LinearFit(beta, covariance, scales, lambda contrasts: np.full(len(contrasts), spare))


def ols_robust(moments: Moments) -> LinearFit:
    """Ordinary least squares with standard errors that allow for therapists: CR2.

    Parameters
    ----------
    moments : Moments
        Of columns and the residuals of least squares.
    """
    if _therapists(moments) < 2:
        return _missing(moments, "OLS, robust, has no standard errors: there is one therapist")
    robust = cluster_robust(moments)
    beta = np.zeros(len(robust.covariance))  # of residuals
    return LinearFit(beta, robust.covariance, None, robust.degrees_of_freedom)


def reml(groups: Sequence[Moments], columns: Sequence[int], therapists: int) -> LinearFit:
    """Linear mixed model by restricted maximum likelihood.

    Parameters
    ----------
    groups : sequence of Moments
        As for `ols`, of each residual group.
    columns : sequence of int
        Columns of X whose coefficients vary between therapists.
    therapists : int
        The moments' units after these are patients without therapists.

    Returns
    -------
    LinearFit
        Standard errors are those of generalised least squares at the estimated variances, as in
        most software for mixed models (Laird & Ware 1982, doi:10.2307/2529876). With missing
        coefficients and a note where the data leave nothing to estimate.
    """
    moments = _whole(groups)
    if why := _nothing_to_estimate(moments, columns, therapists):
        return _missing(moments, why)
    ratios = np.ones(1)
    if len(groups) > 1:
        fit, ratios = UnequalLikelihood(groups, columns, therapists).maximise()
    else:
        fit = RestrictedLikelihood(moments, columns, therapists).maximise()
    residual_sd = float(np.sqrt(fit.residual_variance))
    sds = np.sqrt(np.diag(fit.effect_covariance).clip(min=0))
    names = ("therapist_sd", "therapist_slope_sd")
    spreads: dict[str, Any] = dict(zip(names, sds, strict=False))
    spreads["residual_sd"] = residual_sd * ratios if len(ratios) > 1 else residual_sd
    if len(sds) > 1 and sds[:2].all():
        spreads["therapist_correlation"] = float(fit.effect_covariance[0, 1] / sds[0] / sds[1])
    scales = _single_draw(**spreads)
    note = (
        _boundary(fit.effect_covariance, residual_sd)
        if fit.identified
        else "REML: the data do not tell the variances of the therapists' effects and of the "
        "residuals apart; what stands here is one of many answers"
    )
    return LinearFit(fit.beta, fit.covariance, scales, fit.degrees_of_freedom, note)


def _reml_with_clinics(design: Design) -> LinearFit:
    """Linear mixed model with effects of clinics, of therapists too where the design has them."""
    X = design.X[:, design.present]
    residuals = design.y - X @ np.linalg.lstsq(X, design.y)[0]
    about = replace(design, y=residuals)
    fit = LevelsLikelihood(about).maximise()
    levels = {"therapist": fit.therapist_covariance, "clinic": fit.clinic_covariance}
    spreads: dict[str, Any] = {}
    notes = []
    for level, covariance in levels.items():
        if not len(covariance):
            continue
        sds = np.sqrt(np.diag(covariance).clip(min=0))
        spreads |= dict(zip((f"{level}_sd", f"{level}_slope_sd"), sds, strict=False))
        if len(sds) > 1 and sds[:2].all():
            spreads[f"{level}_correlation"] = float(covariance[0, 1] / sds[0] / sds[1])
        notes.append(_boundary(covariance, float(fit.residual_sds[0]), f"{level}s"))
    several = len(fit.residual_sds) > 1
    spreads["residual_sd"] = fit.residual_sds if several else float(fit.residual_sds[0])
    note = "; ".join(filter(None, notes))
    return LinearFit(
        fit.beta, fit.covariance, _single_draw(**spreads), fit.degrees_of_freedom, note
    )


def _missing(moments: Moments, why: str) -> LinearFit:
    """No estimates, and why."""
    size = len(moments.XtX)
    nothing = np.full((size, size), np.nan)
    return LinearFit(
        nothing[0], nothing, None, lambda contrasts: np.full(len(contrasts), np.nan), why
    )


def _therapists(moments: Moments, known: int | None = None) -> int:
    """Therapists with patients, among the first so many units."""
    return int((moments.count[:known] > 0).sum())


def _nothing_to_estimate(moments: Moments, columns: Sequence[int], therapists: int) -> str:
    """Why there are no REML estimates; nothing where there are."""
    if _therapists(moments, therapists) < 2:
        return "REML has no estimate: there is one therapist"
    if moments.n <= len(moments.XtX) + len(columns):
        return "REML has no estimate: too few patients for the coefficients"
    if not moments.yty > LEAST_LEFT * moments.n:
        return "REML has no estimate: the columns explain the outcome to the last digit"
    return ""


def _boundary(covariance: Array, residual_sd: float, who: str = "therapists") -> str:
    """What to say of a singular covariance of the therapists' effects; nothing of another."""
    sds = np.sqrt(np.diag(covariance).clip(min=0))
    zero = sds < BOUNDARY * residual_sd
    boundary = "REML estimate on the boundary"
    if len(sds) == 1:
        return f"{boundary}: the variance between {who} is zero" if zero[0] else ""
    singular = f"{boundary}: the covariance of the {who}' effects is singular"
    if zero.all():
        return f"{singular} (both variances are zero)"
    if zero.any():
        which = ("means", "slopes")[int(np.flatnonzero(zero)[0])]
        return f"{singular} (the variance of the {which} is zero)"
    correlation = covariance[0, 1] / (sds[0] * sds[1])
    if abs(correlation) > PERFECT:
        return f"{singular} (the correlation of means and slopes is {np.sign(correlation):.0f})"
    return ""


def _single_draw(**values: Any) -> xr.Dataset:
    return xr.Dataset(
        {
            name: (("chain", "draw", RESIDUAL_GROUP)[: 2 + np.ndim(value)], np.array([[value]]))
            for name, value in values.items()
        }
    )


def _table(
    design: Design,
    model: str,
    columns: Sequence[int],
    about: Array,
    fit: LinearFit,
    interval: float,
    alliance: float,
) -> pd.DataFrame:
    linear = _available(linear_estimands(design), columns, len(design.coefficients))
    matrix = linear.at(alliance)[:, list(columns)]
    estimate = matrix @ (about + fit.beta) + linear.offset
    variance = np.einsum("mp,pq,mq->m", matrix, fit.covariance, matrix)
    se = np.sqrt(variance.clip(min=0))
    df = fit.degrees_of_freedom(matrix)
    distribution = stats.t(df)
    half = distribution.ppf((1 + interval) / 2) * se
    with np.errstate(divide="ignore", invalid="ignore"):  # a perfect fit has no standard errors
        p_value = 2 * distribution.sf(np.abs(estimate) / se)
    table = pd.DataFrame(
        {
            "quantity": [quantity for quantity, _ in linear.labels],
            "level": [level for _, level in linear.labels],
            "estimate": estimate,
            "se": se,
            "df": df,
            "lower": estimate - half,
            "upper": estimate + half,
            "p_value": p_value,
        }
    )
    if fit.scales is not None:
        outcome_sd, moderator_sd = design.scaling.outcome[1], design.scaling.moderator[1]
        variance = (outcome_sd * fit.scales["residual_sd"].values.reshape(1, -1)) ** 2
        if variance.shape[1] == 1:  # one for all arms
            one = replace(design, nesting=Nesting(design.nesting.without))
            variances = np.repeat(variance, len(design.arms), axis=1)
        else:
            one, variances = design, variance[:, list(design.nesting.groups)]
        scales = spread_estimands(
            fit.scales, np.array([outcome_sd]), variances, moderator_sd, one, alliance
        )
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
        along=linear.along[keep],
        offset=linear.offset[keep],
    )
