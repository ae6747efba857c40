"""The likelihood of visits with its gradient, in one operation; formulas: `.likelihood`.

From SDs, correlation parameters and therapists' SDs to the log density and back: the same numbers
as `models.visits.likelihood` gives, for one value, in loops that numba compiles. The tests hold the
two together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from alliance.models.exact_operation import ExactLikelihood, compiled_by_numba
from alliance.models.visits.covariance import CovarianceShape
from alliance.models.visits.likelihood import VisitModel
from alliance.models.visits.loops import density_in_covariances
from alliance.models.visits.parameters import (
    STRUCTURES_IN_LOOPS,
    by_correlation,
    by_therapist_scalars,
    covariance_of,
    loading_of,
)

Array = NDArray[np.float64]


def likelihood_data(model: VisitModel) -> dict[str, NDArray[Any]]:
    """The arrays that the operation is given after the covariances, in its order.

    Returns
    -------
    dict of str to ndarray
        ``precision``, ``term_visit`` and ``term_column`` (P,); ``effect_visit`` (Q,); of groups
        ``seen`` (G, V), ``residual_group``, ``patients`` (G,), ``columns`` (G, p (p + 1) / 2) with
        columns packed, ``both`` (G, V, p) with scores, and ``squares`` (G, V (V + 1) / 2) of
        scores, packed, those of different visits twice; ``pair_group`` (m,), ``pair_start``
        (therapists + 1,), and of pairs the products of each effect's column: ``pair_effects``
        (m, Q, Q), ``pair_terms`` (m, Q, P) and ``pair_scores`` (m, Q, V).
    """
    moments, terms, effects = model.moments, model.terms, model.effects
    p, V = moments.columns, moments.visits
    S = moments.cross_products
    of_columns, of_visits = np.tril_indices(p), np.tril_indices(V)
    twice = np.where(of_visits[0] == of_visits[1], 1.0, 2.0)
    row = np.searchsorted(moments.varying, effects.column)
    products = moments.pair_products[:, row]
    own = moments.pair_therapist if len(effects) else moments.pair_therapist[:0]
    starts = np.flatnonzero(np.diff(own, prepend=-1, append=-1)) if len(own) else np.zeros(1)
    return {
        "precision": model.precision,
        "term_visit": terms.visit,
        "term_column": terms.column,
        "effect_visit": effects.visit,
        "seen": moments.seen.astype(np.int64),
        "residual_group": moments.residual_group,
        "patients": moments.patients,
        "columns": S[:, of_columns[0], of_columns[1]],
        "both": S[:, p:, :p],
        "squares": S[:, p:, p:][:, of_visits[0], of_visits[1]] * twice,
        "pair_group": moments.pair_group[: len(own)],
        "pair_start": starts.astype(np.int64),
        "pair_effects": products[: len(own), :, effects.column],
        "pair_terms": products[: len(own)][:, :, terms.column],
        "pair_scores": products[: len(own), :, p:],
    }


def distances(shape: CovarianceShape) -> Array:
    """Of visits, one between neighbours unless their times are uneven, shape (V, V)."""
    if shape.gaps is not None:
        return shape.gaps
    places = np.arange(shape.visits, dtype=float)
    return np.abs(places[:, None] - places)


@compiled_by_numba("alliance.models.visits.loops", "alliance.models.visits.parameters")
class VisitsLikelihood(ExactLikelihood):
    """Log likelihood of scores over time, coefficients and therapist effects integrated out.

    Parameters
    ----------
    structure : str
        Of the residuals' correlations, one of `models.visits.covariance.STRUCTURES`.

    Notes
    -----
    With A groups of residuals and V visits, the inputs are ``sd`` (A, V or 1) and ``parameters``
    (A, m) of the residuals; the scalars ``therapist_sd``, ``therapist_slope_sd``,
    ``therapist_correlation`` and ``therapist_visit_sd``, which are not looked at unless therapists
    have such effects; `distances` (V, V); and the arrays of `likelihood_data`.
    """

    __props__: ClassVar[tuple[str, ...]] = ("structure",)
    parameters = 6

    def __init__(self, structure: str) -> None:
        self.structure = structure

    def loops(self) -> Callable[..., tuple[Any, ...]]:
        """Value and gradients, in a function that numba compiles."""
        matrix, by_parameters = STRUCTURES_IN_LOOPS[self.structure]

        # Without annotations: numba takes the types of what it is given.
        def visits_likelihood(  # type: ignore[no-untyped-def]
            sd, parameters, therapist_sd, therapist_slope_sd, therapist_correlation,
            therapist_visit_sd, gaps, precision, term_visit, term_column, effect_visit, seen,
            residual_group, patients, columns, both, squares, pair_group, pair_start, pair_effects,
            pair_terms, pair_scores,
        ):  # fmt: skip
            V = len(gaps)
            residual = np.zeros((len(sd), V, V))
            for a in range(len(sd)):
                covariance_of(matrix(parameters[a], gaps), sd[a], residual[a])
            loading = loading_of(
                effect_visit, V, therapist_sd.item(), therapist_slope_sd.item(),
                therapist_correlation.item(), therapist_visit_sd.item(),
            )  # fmt: skip
            value, by_residual, by_loading = density_in_covariances(
                residual, loading, precision, term_visit, term_column, effect_visit, seen,
                residual_group, patients, columns, both, squares, pair_group, pair_start,
                pair_effects, pair_terms, pair_scores,
            )  # fmt: skip
            by_sd, by_parameter = np.zeros_like(sd), np.zeros_like(parameters)
            for a in range(len(sd)):
                by_R = by_correlation(matrix(parameters[a], gaps), sd[a], by_residual[a], by_sd[a])
                by_parameter[a] = by_parameters(parameters[a], gaps, by_R)
            by_therapist, by_slope, by_r, by_visit = by_therapist_scalars(
                effect_visit, V, by_loading, therapist_slope_sd.item(),
                therapist_correlation.item(),
            )  # fmt: skip
            return (
                np.asarray(value), by_sd, by_parameter, np.asarray(by_therapist),
                np.asarray(by_slope), np.asarray(by_r), np.asarray(by_visit),
            )  # fmt: skip

        return visits_likelihood
