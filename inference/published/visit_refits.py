"""The model of visits again by REML, in the names and on the scale of the tidy table."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from alliance.inference.estimands.estimands import linear_estimands, residual_levels
from alliance.inference.published.refits import COLUMNS
from alliance.inference.published.restricted_visits import VisitsFit, fit_visits
from alliance.models.priors import Priors
from alliance.models.visits.design import VisitsDesign

SINGULAR = 1e-6  # eigenvalue of the effects' covariance over the largest residual variance


def refit_visits(
    design: VisitsDesign,
    *,
    interval: float = 0.95,
    at: float | None = None,
    kenward_roger: bool = False,
) -> pd.DataFrame:
    """Restricted maximum likelihood of an outcome over time.

    Parameters
    ----------
    design : VisitsDesign
    interval : float
        Probability of the confidence intervals.
    at : float, optional
        Alliance, in its own points, at which arms are compared; by default the mean of the
        patients with any visit.
    kenward_roger : bool
        Standard errors that allow for the estimation of the covariances, in the place of those of
        generalised least squares.

    Returns
    -------
    pandas.DataFrame
        Columns as in `inference.published.refits.COLUMNS`, model ``reml``, outcomes as in
        ``design.designs``; Student's t with Satterthwaite's degrees of freedom.
    """
    fit = fit_visits(design.model(Priors()), design.shape)
    return pd.concat(
        [
            _visit(design, fit, visit, interval, at, kenward_roger)
            for visit in range(len(design.designs))
        ],
        ignore_index=True,
    )


def _visit(
    design: VisitsDesign,
    fit: VisitsFit,
    visit: int,
    interval: float,
    at: float | None,
    kenward_roger: bool,
) -> pd.DataFrame:
    name, own = list(design.designs.items())[visit]
    linear = linear_estimands(own)
    alliance = 0.0
    if at is not None:
        centre, sd = own.scaling.moderator
        alliance = (at - centre) / sd
    matrix = linear.at(alliance)
    # A unit of each term is so much of each coefficient at this visit
    contrasts = matrix @ design.coefficients(np.eye(len(design.terms)))[:, visit].T
    if kenward_roger:
        se = fit.kenward_roger(contrasts)
    else:
        se = np.sqrt(np.einsum("mp,pq,mq->m", contrasts, fit.covariance, contrasts).clip(min=0))
    estimate = contrasts @ fit.beta + linear.offset
    df = fit.degrees_of_freedom(contrasts)
    distribution = stats.t(df)
    half = distribution.ppf((1 + interval) / 2) * se
    with np.errstate(divide="ignore", invalid="ignore"):
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
    columns = ["quantity", "level", "estimate"]
    spreads = pd.DataFrame(_spreads(design, fit, visit), columns=columns)
    table = pd.concat([table, spreads], ignore_index=True)
    return table.assign(outcome=name, model="reml", note=_note(fit))[list(COLUMNS)]


def _spreads(design: VisitsDesign, fit: VisitsFit, visit: int) -> list[tuple[str, str, float]]:
    """SDs on the outcome's own scale."""
    own = list(design.designs.values())[visit]
    unit = own.scaling.outcome[1]
    groups = own.nesting.group_of(np.arange(len(own.arms)))
    found = [
        ("residual_sd", level, unit * float(np.sqrt(fit.residual[groups[arms[0]], visit, visit])))
        for level, arms in residual_levels(own).items()
    ]
    between = np.diag(fit.effect_covariance)
    if design.shape.correlated:
        deviation = between[-1] if design.shape.independent else 0.0
        found.append(("therapist_sd", "", unit * float(np.sqrt(between[0] + deviation))))
    if design.shape.correlated > 1:
        points = own.scaling.moderator[1]
        found.append(("therapist_slope_sd", "", unit / points * float(np.sqrt(between[1]))))
    return found


def _note(fit: VisitsFit) -> str:
    if not fit.converged:
        return "REML did not converge: what stands here is where the search stopped"
    spread = fit.effect_covariance
    if len(spread) and np.linalg.eigvalsh(spread)[0] < SINGULAR * np.diag(fit.residual[0]).max():
        return (
            "REML estimate on the boundary: the covariance of the therapists' effects is singular"
        )
    return ""
