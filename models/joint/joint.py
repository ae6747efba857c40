"""All outcomes of a study in one Gaussian model: what one outcome tells about another.

Patient i of therapist j has outcomes k = 1..K, each standardised, with

    y_ik = X_ik beta_k + u_jk + v_jk alliance_i + e_ik
    e_i ~ Normal(0, Sigma)
    u_jk = s_k z_jk,  v_jk = t_k (r_k z_jk + sqrt(1 - r_k^2) w_jk)
    z_j ~ Normal(0, R_u),  w_j ~ Normal(0, R_w)
    beta_k,alliance = orientation_k (pooled slope + spread z_k)

The correlations of Sigma, R_u and R_w are LKJ(2); that of a therapist's intercept and slope on an
outcome, r_k, has the prior it has with that outcome alone
(`models.joint.correlations.effects_factor`).

Orientation is 1 where higher scores are better and -1 where lower ones are, so that slopes are
pooled as benefits. A patient with some outcomes missing adds the marginal density of those that
are there: missing at random given the others and the model.

As with one outcome (`models.gaussian.marginal`), the therapists' effects integrate out in closed
form and the data enter through cross-products alone. With P_g the inverse of Sigma's rows and
columns of the outcomes that the patients of pattern g have (zero elsewhere) and L the lower factor
of the covariance of (u_j, v_j),

    M_j = I + L' (sum_g Z_jg'Z_jg (x) P_g) L,     w_j = L' vec(sum_g Z_jg' R_jg P_g)
    log p = -1/2 sum_g [ n_g (K_g log(2 pi) + log|Sigma_g|) + trace(P_g R_g'R_g) ]
            -1/2 sum_j [ log|M_j| - w_j' M_j^-1 w_j ]
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alliance.models.design.design import Design
from alliance.models.families.ordinal import ORDINAL_PROBIT
from alliance.models.priors import Priors

Array = NDArray[np.float64]

CORRELATION_SHAPE = 2.0  # LKJ; leans gently against correlations near -1 and 1
SPREAD_SHARE = 0.5  # the slopes' spread between outcomes is expected below half the slope's scale


def slope_scales(priors: Priors) -> tuple[float, float]:
    """Prior scales of the pooled moderator slope (normal) and of its spread (half-normal)."""
    return priors.moderator_slope, SPREAD_SHARE * priors.moderator_slope


def outcome_priors(priors: Priors) -> Priors:
    """Priors of one outcome of a joint model: its own slope has both scales' variance.

    The slope's prior is a scale mixture with this SD, not quite normal.
    """
    return replace(priors, moderator_slope=math.hypot(*slope_scales(priors)))


@dataclass(frozen=True, eq=False)
class Pattern:
    """The patients who have the same outcomes.

    Attributes
    ----------
    outcomes : ndarray of int
        Positions of the outcomes they have.
    patients : int
    cross_products : ndarray, shape (K, p + 1, K, p + 1)
        Of [X_k, y_k] and [X_l, y_l], summed over the patients.
    therapist_squares : ndarray, shape (J, q, q)
        Z'Z within therapists.
    therapist_products : ndarray, shape (J, q, K, p + 1)
        Z'[X_k, y_k] within therapists.
    """

    outcomes: NDArray[np.int64]
    patients: int
    cross_products: Array
    therapist_squares: Array
    therapist_products: Array


@dataclass(frozen=True, eq=False)
class JointDesign:
    """The analysed patients of all outcomes, side by side.

    Attributes
    ----------
    designs : dict of str to Design
        Each outcome's own design, by outcome; one moderator scale for all.
    W : ndarray, shape (n, K, p + 1)
        Columns of X and the standardised outcome; zero where a patient lacks the outcome.
    Z : ndarray, shape (n, q)
        Columns whose coefficients vary between therapists.
    seen : ndarray of bool, shape (n, K)
    therapist_index : ndarray of int, shape (n,)
    orientation : ndarray, shape (K,)
        1 where higher is better, -1 where lower is.
    """

    designs: dict[str, Design]
    W: Array
    Z: Array
    seen: NDArray[np.bool_]
    therapist_index: NDArray[np.int64]
    orientation: Array

    @property
    def first(self) -> Design:
        """Any of the designs; they share coefficients, therapists and effects."""
        return next(iter(self.designs.values()))

    @cached_property
    def patterns(self) -> tuple[Pattern, ...]:
        """Cross-products by pattern of outcomes, all that the model needs of the data."""
        kinds, which = np.unique(self.seen, axis=0, return_inverse=True)
        return tuple(
            self._pattern(np.flatnonzero(kind), np.flatnonzero(which.ravel() == k))
            for k, kind in enumerate(kinds)
        )

    @property
    def ordinal(self) -> int | None:
        """Position of the outcome that is ordinal, if one is: see `models.joint.mixed`."""
        families = [design.family.name for design in self.designs.values()]
        return families.index(ORDINAL_PROBIT.name) if ORDINAL_PROBIT.name in families else None

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The patterns side by side, as a compiled model takes them.

        Returns
        -------
        dict
            With G patterns: ``seen`` (G, K), 1 where the pattern has the outcome; ``patients``
            (G,); ``cross_products`` (G, K, p + 1, K, p + 1), ``therapist_squares`` (G, J, q, q),
            ``therapist_products`` (G, J, q, K, p + 1), as of `Pattern`.
        """
        patterns = self.patterns
        seen = np.zeros((len(patterns), len(self.designs)), dtype=np.int64)
        for row, pattern in zip(seen, patterns, strict=True):
            row[pattern.outcomes] = 1
        names = ("cross_products", "therapist_squares", "therapist_products")
        return {
            "seen": seen,
            "patients": np.array([pattern.patients for pattern in patterns]),
            **{name: np.stack([getattr(each, name) for each in patterns]) for name in names},
        }

    def _pattern(self, outcomes: NDArray[np.int64], rows: NDArray[np.int64]) -> Pattern:
        W, Z, therapist = self.W[rows], self.Z[rows], self.therapist_index[rows]
        therapists = len(self.first.therapists)
        flat = W.reshape(len(rows), -1)
        squares = np.zeros((therapists, Z.shape[1], Z.shape[1]))
        products = np.zeros((therapists, Z.shape[1], flat.shape[1]))
        # Sums in the patients' order, not BLAS: the same bits on any number of threads.
        np.add.at(squares, therapist, Z[:, :, None] * Z[:, None, :])
        np.add.at(products, therapist, Z[:, :, None] * flat[:, None, :])
        total = np.einsum("na,nb->ab", flat, flat)
        return Pattern(
            outcomes=outcomes,
            patients=len(rows),
            cross_products=total.reshape(*W.shape[1:], *W.shape[1:]),
            therapist_squares=squares,
            therapist_products=products.reshape(*products.shape[:2], *W.shape[1:]),
        )


def join_designs(
    designs: Mapping[str, Design], positions: Mapping[str, Sequence[int]], better: Mapping[str, str]
) -> JointDesign:
    """Bring the outcomes' designs together, patient by patient.

    Parameters
    ----------
    designs : mapping of str to Design
        By outcome, at least two; built with one moderator scale.
    positions : mapping of str to sequence of int
        Which patients of the trial the rows of each design are.
    better : mapping of str to {"higher", "lower"}

    Returns
    -------
    JointDesign
        Of the patients with at least one outcome.
    """
    patients = np.unique(np.concatenate([np.asarray(rows) for rows in positions.values()]))
    first = next(iter(designs.values()))
    shape = (len(patients), len(designs))
    W = np.zeros((*shape, len(first.coefficients) + 1))
    Z = np.zeros((len(patients), len(first.effects)))
    seen = np.zeros(shape, dtype=bool)
    therapist = np.zeros(len(patients), dtype=np.int64)
    for k, (name, design) in enumerate(designs.items()):
        rows = np.searchsorted(patients, np.asarray(positions[name]))
        W[rows, k] = np.column_stack([design.X, design.y])
        Z[rows] = design.X[:, design.effect_columns]
        seen[rows, k] = True
        therapist[rows] = design.therapist_index
    orientation = np.array([1.0 if better[name] == "higher" else -1.0 for name in designs])
    return JointDesign(dict(designs), W, Z, seen, therapist, orientation)
