"""All outcomes of a study in one Gaussian model: what one outcome tells about another.

Patient i of therapist j has outcomes k = 1..K, each standardised, with

    y_ik = X_ik beta_k + u_jk + v_jk alliance_i + e_ik
    e_i ~ Normal(0, Sigma)
    u_jk = s_k z_jk,  v_jk = t_k (r_k z_jk + sqrt(1 - r_k^2) w_jk)
    z_j ~ Normal(0, R_u),  w_j ~ Normal(0, R_w)
    beta_k,alliance = orientation_k (pooled slope + spread z_k)

The correlations of Sigma, R_u and R_w are LKJ(2); that of a therapist's intercept and slope on an
outcome, r_k, has the prior it has with that outcome alone
(`models.joint.joint.effects_factor`).

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

Correlation matrices from canonical partial correlations, with LKJ density, and of effects.

A partial correlation z lies between -1 and 1 whatever the others are, so that a sampler meets no
boundary; and unlike the elements of a covariance's factor it does not shrink with the SDs, which
for therapist effects are often near zero (Lewandowski, Kurowicka & Joe 2009,
doi:10.1016/j.jmva.2009.04.008).

Therapists' effects of the joint model, drawn afterwards with NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alliance.models.design.design import Design
from alliance.models.families.families import ORDINAL_PROBIT
from alliance.models.gaussian.gaussian_draws import BLOCK_NUMBERS
from alliance.models.priors import Priors

Array = NDArray[np.float64]


def partial_places(size: int) -> list[tuple[int, int]]:
    """Row and column of each partial correlation in the lower triangle, row by row."""
    return [(row, column) for row in range(size) for column in range(row)]


def lkj_powers(size: int, shape: float) -> Array:
    """Powers of ``1 - z^2`` in the LKJ(shape) density of the partial correlations.

    Parameters
    ----------
    size : int
        Rows of the correlation matrix, K.
    shape : float
        1 is uniform over correlation matrices; larger values lean towards independence.

    Returns
    -------
    ndarray, shape (K (K - 1) / 2,)
        In the order of `partial_places`.
    """
    return np.array([shape - 1 + (size - 2 - column) / 2 for _, column in partial_places(size)])


def correlation_factor(partial: Any, size: int, library: ModuleType) -> Any:
    """Lower Cholesky factor of the correlation matrix of some partial correlations.

    Parameters
    ----------
    partial : array or symbol, shape (..., K (K - 1) / 2)
        In the order of `partial_places`.
    size : int
        K.
    library : module
        ``numpy`` or ``pytensor.tensor``.

    Returns
    -------
    array or symbol, shape (..., K, K)
        Element (i, j) is ``z_ij prod_{m<j} sqrt(1 - z_im^2)``, with 1 for z on the diagonal.
    """
    places = partial_places(size)
    scatter = np.zeros((len(places), size * size))
    for number, (row, column) in enumerate(places):
        scatter[number, row * size + column] = 1.0
    lower = (partial @ scatter).reshape((*partial.shape[:-1], size, size))
    left_of = np.triu(np.ones((size, size)), 1)
    remaining = library.exp(0.5 * library.log1p(-(lower**2)) @ left_of)
    return (lower + np.eye(size)) * np.tril(np.ones((size, size))) * remaining


def effects_factor(sd: Any, root: Any, correlation: Any, library: ModuleType) -> Any:
    """Lower factor of the covariance of a therapist's effects on all outcomes.

    Parameters
    ----------
    sd : array or symbol, shape (..., q, K)
        Of intercepts and, with q = 2, slopes; of either sign.
    root : array or symbol, shape (..., q, K, K)
        Lower factors of correlation matrices between outcomes: of the intercepts, and of what the
        intercepts do not tell of the slopes.
    correlation : array or symbol, shape (..., K), or None
        Of intercept and slope on the same outcome; None where intercepts alone vary, q = 1.
    library : module
        ``numpy`` or ``pytensor.tensor``.

    Returns
    -------
    array or symbol, shape (..., q K, q K)
        Effect by effect, outcome by outcome.

    Notes
    -----
    With standard intercepts z ~ N(0, R_u) and w ~ N(0, R_w), the slope on outcome k is
    ``sd_k (r_k z_k + sqrt(1 - r_k^2) w_k)``. Alone, each outcome has the intercept, slope and
    correlation of a single-outcome model, whatever the others are; the slope on one outcome and the
    intercept on another go together through the intercepts only, by ``r_k R_u[k, m]``.
    """
    scaled = sd[..., None] * root
    intercept = scaled[..., 0, :, :]
    if correlation is None:
        return intercept
    own = sd[..., 1, :, None] * correlation[..., None] * root[..., 0, :, :]
    rest = library.sqrt(1 - correlation**2)[..., None] * scaled[..., 1, :, :]
    upper = library.concatenate([intercept, library.zeros_like(intercept)], axis=-1)
    lower = library.concatenate([own, rest], axis=-1)
    return library.concatenate([upper, lower], axis=-2)


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
        """Position of the outcome that is ordinal, if one is: see `models.joint.likelihood`."""
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


@dataclass(frozen=True, slots=True)
class JointDraws:
    """Draws of the joint model's parameters on the standardised scale.

    Attributes
    ----------
    beta : ndarray, shape (d, K, p)
    residual : ndarray, shape (d, K, K)
        Lower factor of the residual covariance between outcomes.
    loading : ndarray, shape (d, q K, q K)
        Lower factor of the covariance of a therapist's effects, effect by effect and outcome by
        outcome; see `models.joint.joint.effects_factor`.
    """

    beta: Array
    residual: Array
    loading: Array


def draw_joint_effects(
    joint: JointDesign, draws: JointDraws, generator: np.random.Generator
) -> Array:
    """Draw every therapist's effects on every outcome given the other parameters.

    Parameters
    ----------
    joint : JointDesign
        K outcomes, J therapists, q effects.
    draws : JointDraws
        d draws.
    generator : numpy.random.Generator

    Returns
    -------
    ndarray, shape (d, J, K, q)
        Normal with mean ``L M_j^-1 w_j`` and covariance ``L M_j^-1 L'`` (see `models.joint.joint`).
        A therapist without patients is drawn from the population.
    """
    total, outcomes = draws.beta.shape[:2]
    effects = len(joint.first.effects)
    therapists, every = len(joint.first.therapists), effects * outcomes
    drawn = np.empty((total, therapists, outcomes, effects))
    block = max(1, BLOCK_NUMBERS // max(1, therapists * every**2))
    for start in range(0, total, block):
        some = slice(start, start + block)
        A, t = _given_residuals(joint, draws.beta[some], draws.residual[some])
        L = draws.loading[some, None]
        M = np.eye(every) + np.swapaxes(L, -1, -2) @ A @ L
        # With M = C C', C'^-1 (C^-1 w + z) is normal with mean M^-1 w and covariance M^-1.
        C = np.linalg.cholesky(M)
        white = np.linalg.solve(C, np.swapaxes(L, -1, -2) @ t[..., None])
        white += generator.standard_normal(white.shape)
        standard = np.linalg.solve(np.swapaxes(C, -1, -2), white)
        effect = (L @ standard)[..., 0].reshape(len(A), therapists, effects, outcomes)
        drawn[some] = np.swapaxes(effect, -1, -2)
    return drawn


def _given_residuals(joint: JointDesign, beta: Array, residual: Array) -> tuple[Array, Array]:
    """Precisions (d, J, qK, qK) and weighted sums (d, J, qK) that the patients give the effects."""
    total, outcomes = beta.shape[:2]
    b = np.concatenate([-beta, np.ones((total, outcomes, 1))], axis=2)
    covariance = residual @ np.swapaxes(residual, -1, -2)
    precisions: Array = np.zeros(())
    sums: Array = np.zeros(())
    for pattern in joint.patterns:
        there = np.ix_(range(total), pattern.outcomes, pattern.outcomes)
        P = np.zeros_like(covariance)
        P[there] = np.linalg.inv(covariance[there])
        precision = np.einsum("jah,dkm->djakhm", pattern.therapist_squares, P)
        ZtR = np.einsum("jakc,dkc->djak", pattern.therapist_products, b)
        precisions = precisions + precision
        sums = sums + np.einsum("djak,dkm->djam", ZtR, P)
    every = sums.shape[2] * outcomes
    shape = (total, sums.shape[1], every)
    return precisions.reshape(*shape, every), sums.reshape(shape)
