"""The joint likelihood with its gradient, in one operation; formulas: `models.joint.joint`.

The joint model with one ordinal outcome, a latent normal variable cut at thresholds.

The latent variable's residual, of SD 1, correlates with the other outcomes' residuals. Given
those, it is normal with mean ``m_i`` and SD ``s``, so that category c has the probability
``Phi((t_c+1 - eta_i - m_i) / s) - Phi((t_c - eta_i - m_i) / s)``: nothing latent is sampled but
the therapists' effects, non-centred. With a second ordinal outcome the probabilities would be
those of rectangles under a bivariate normal, which have no such form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray

from alliance.models.exact_operation import ExactLikelihood, compiled_by_numba
from alliance.models.joint.joint import JointDesign
from alliance.models.patient_level import SYMBOLS, family_parameters
from alliance.models.priors import Priors


def mixed_log_likelihood(
    joint: JointDesign,
    data: dict[str, pt.TensorVariable],
    beta: pt.TensorVariable,
    residual: pt.TensorVariable,
    loading: pt.TensorVariable,
    priors: Priors,
) -> pt.TensorVariable:
    """Log likelihood of Gaussian outcomes and an ordinal one, inside a model.

    Parameters
    ----------
    joint : JointDesign
        K outcomes, one of them ordinal; n patients.
    data : dict of str to tensor
        ``W`` (n, K, p + 1), ``Z`` (n, q), ``therapist_index`` (n,).
    beta : tensor, shape (K, p)
    residual : tensor, shape (K, K)
        Lower factor of the residual covariance, SD 1 for the ordinal outcome.
    loading : tensor, shape (q K, q K)
        Lower factor of the covariance of a therapist's effects, effect by effect.
    priors : Priors

    Returns
    -------
    tensor, scalar
        Declares ``therapist_standard`` (effect, therapist, outcome) and the ordinal outcome's
        cutpoints.
    """
    ordinal = joint.ordinal
    if ordinal is None:
        raise ValueError("no outcome of the joint design is ordinal")
    design = list(joint.designs.values())[ordinal]
    model = pm.modelcontext(None)
    model.add_coord("category", list(range(design.scale.top + 1)))
    model.add_coord("threshold", list(range(1, design.scale.top + 1)))
    cutpoints = family_parameters(design.family, design.scale, priors)["cutpoint"]

    kept = np.ones((len(joint.designs), len(design.coefficients)))
    kept[ordinal, design.coefficients.index("intercept")] = 0.0  # the cutpoints hold it
    eta = (data["W"][:, :, :-1] * (beta * kept)[None]).sum(axis=-1)
    if design.effects:
        standard = pm.Normal("therapist_standard", 0, 1, dims=("effect", "therapist", "outcome"))
        shape = (len(design.therapists), len(design.effects), len(joint.designs))
        each = standard.transpose(1, 0, 2).reshape((shape[0], -1))
        effect = (each @ loading.T).reshape(shape)
        for k in range(len(design.effects)):
            eta = eta + data["Z"][:, k, None] * effect[data["therapist_index"], k]
    residuals = data["W"][:, :, -1] - eta
    covariance = residual @ residual.T

    total = pt.zeros(())
    kinds, which = np.unique(joint.seen, axis=0, return_inverse=True)
    for number, seen in enumerate(kinds):
        rows = np.flatnonzero(which.ravel() == number)
        others = np.array([k for k in np.flatnonzero(seen) if k != ordinal], dtype=int)
        white, known = _whitened(covariance, residuals[rows], others)
        total = total + known
        if not seen[ordinal]:
            continue
        mean, sd = eta[rows, ordinal], pt.ones(())
        if len(others):
            loading = pt.linalg.solve_triangular(
                pt.linalg.cholesky(covariance[others][:, others]),
                covariance[others, ordinal],
                lower=True,
            )
            mean = mean + loading @ white
            sd = pt.sqrt(1 - (loading**2).sum())
        categories = pt.cast(data["W"][rows, ordinal, -1], "int64")
        scaled = {"cutpoint": cutpoints / sd}
        pointwise = design.family.log_likelihood(
            SYMBOLS, categories, mean / sd, scaled, design.scale
        )
        total = total + pointwise.sum()
    return total


def _whitened(
    covariance: pt.TensorVariable, residuals: pt.TensorVariable, outcomes: NDArray[np.int64]
) -> tuple[Any, Any]:
    """Whitened residuals (outcomes, rows) of some outcomes, and their log density."""
    if not len(outcomes):
        return None, pt.zeros(())
    factor = pt.linalg.cholesky(covariance[outcomes][:, outcomes])
    white = pt.linalg.solve_triangular(factor, residuals[:, outcomes].T, lower=True)
    patients = residuals.shape[0]
    constant = 0.5 * len(outcomes) * np.log(2 * np.pi) + pt.log(pt.diag(factor)).sum()
    return white, -0.5 * (white**2).sum() - patients * constant


Array = NDArray[np.float64]


@numba.njit
def _times(A: Array, B: Array) -> Array:
    """A B, in loops: BLAS and LAPACK take numba longer to compile than to save time here."""
    product = np.zeros((A.shape[0], B.shape[1]))
    for a in range(A.shape[0]):
        for c in range(A.shape[1]):
            for b in range(B.shape[1]):
                product[a, b] += A[a, c] * B[c, b]
    return product


@numba.njit
def _transposed(A: Array) -> Array:
    turned = np.empty((A.shape[1], A.shape[0]))
    for a in range(A.shape[0]):
        for b in range(A.shape[1]):
            turned[b, a] = A[a, b]
    return turned


@numba.njit
def _inverse(M: Array) -> tuple[float, Array]:
    """Log determinant and inverse of a positive definite matrix; nan if it is not."""
    size = M.shape[0]
    C, D = np.zeros((size, size)), np.zeros((size, size))  # M = C C', D its inverse
    log_determinant = 0.0
    for a in range(size):
        for b in range(a + 1):
            element = M[a, b]
            for c in range(b):
                element -= C[a, c] * C[b, c]
            C[a, b] = np.sqrt(element) if a == b else element / C[b, b]
        log_determinant += 2 * np.log(C[a, a])
        D[a, a] = 1 / C[a, a]
        for b in range(a):
            for c in range(b, a):
                D[a, b] -= C[a, c] * D[c, b]
            D[a, b] /= C[a, a]
    return log_determinant, _times(_transposed(D), D)


def _likelihood(
    beta: Array,
    residual: Array,
    loading: Array,
    seen: NDArray[np.int64],
    patients: NDArray[np.int64],
    cross_products: Array,
    squares: Array,
    products: Array,
) -> tuple[Array, Array, Array, Array]:
    """Log likelihood and gradients; numba compiles it, and Python understands it."""
    outcomes, size = beta.shape
    patterns, therapists, effects = products.shape[:3]
    every = effects * outcomes  # all effects of a therapist
    b = np.empty((outcomes, size + 1))
    for k in range(outcomes):
        for c in range(size):
            b[k, c] = -beta[k, c]
        b[k, size] = 1.0
    b_gradient = np.zeros_like(b)
    covariance = _times(residual, _transposed(residual))
    precision = np.zeros((patterns, outcomes, outcomes))
    precision_gradient = np.zeros((patterns, outcomes, outcomes))
    ZtR = np.zeros((patterns, therapists, effects, outcomes))
    A = np.zeros((therapists, every, every))
    t = np.zeros((therapists, every))
    log_density = 0.0
    for g in range(patterns):
        # Rows and columns of absent outcomes become those of the identity, and zero again.
        part = covariance.copy()
        for k in range(outcomes):
            for m in range(outcomes):
                if not (seen[g, k] and seen[g, m]):
                    part[k, m] = 1.0 if k == m else 0.0
        log_determinant, inverse = _inverse(part)
        there = 0
        for k in range(outcomes):
            there += seen[g, k]
            for m in range(outcomes):
                if seen[g, k] and seen[g, m]:
                    precision[g, k, m] = inverse[k, m]
        log_density -= 0.5 * patients[g] * (there * np.log(2 * np.pi) + log_determinant)
        P = precision[g]
        for k in range(outcomes):
            for m in range(outcomes):
                residuals = 0.0
                for c in range(size + 1):
                    right = 0.0
                    for d in range(size + 1):
                        right += cross_products[g, k, c, m, d] * b[m, d]
                    residuals += b[k, c] * right
                    b_gradient[k, c] -= P[k, m] * right
                log_density -= 0.5 * P[k, m] * residuals
                precision_gradient[g, k, m] = -0.5 * residuals
        for j in range(therapists):
            for a in range(effects):
                for k in range(outcomes):
                    for c in range(size + 1):
                        ZtR[g, j, a, k] += products[g, j, a, k, c] * b[k, c]
                for m in range(outcomes):
                    for k in range(outcomes):
                        t[j, a * outcomes + m] += ZtR[g, j, a, k] * P[k, m]
                    for h in range(effects):
                        for k in range(outcomes):
                            element = squares[g, j, a, h] * P[k, m]
                            A[j, a * outcomes + k, h * outcomes + m] += element
    L, Lt = loading, _transposed(loading)
    L_gradient = np.zeros((every, every))
    for j in range(therapists):
        AL = _times(A[j], L)
        M = _times(Lt, AL)
        for k in range(every):
            M[k, k] += 1.0
        log_determinant, inverse = _inverse(M)
        log_density -= 0.5 * log_determinant
        spread = _times(L, inverse)  # of the effects: L M^-1, then L M^-1 L'
        v, x, left = np.zeros(every), np.zeros(every), np.empty(every)
        covariance_of_effects = _times(spread, Lt)
        for k in range(every):
            for m in range(every):
                v[k] += covariance_of_effects[k, m] * t[j, m]
                x[k] += spread[m, k] * t[j, m]
            log_density += 0.5 * t[j, k] * v[k]
        for k in range(every):
            left[k] = t[j, k]
            for m in range(every):
                left[k] -= A[j, k, m] * v[m]
        fitted = _times(AL, inverse)
        A_gradient = np.empty((every, every))
        for k in range(every):
            for m in range(every):
                L_gradient[k, m] += left[k] * x[m] - fitted[k, m]
                A_gradient[k, m] = -0.5 * (covariance_of_effects[k, m] + v[k] * v[m])
        for g in range(patterns):
            P = precision[g]
            for a in range(effects):
                for k in range(outcomes):
                    loaded = 0.0
                    for m in range(outcomes):
                        here, there_ = a * outcomes + k, a * outcomes + m
                        loaded += P[k, m] * v[there_]
                        product = ZtR[g, j, a, k] * v[there_] + ZtR[g, j, a, m] * v[here]
                        precision_gradient[g, k, m] += 0.5 * product
                        for h in range(effects):
                            change = A_gradient[here, h * outcomes + m]
                            precision_gradient[g, k, m] += squares[g, j, a, h] * change
                    for c in range(size + 1):
                        b_gradient[k, c] += products[g, j, a, k, c] * loaded
    covariance_gradient = np.zeros((outcomes, outcomes))
    for g in range(patterns):
        change = _times(_times(precision[g], precision_gradient[g]), precision[g])
        for k in range(outcomes):
            for m in range(outcomes):
                change[k, m] += 0.5 * patients[g] * precision[g, k, m]
                covariance_gradient[k, m] -= change[k, m]
                covariance_gradient[m, k] -= change[k, m]  # it is symmetric, and F F'
    residual_gradient = _times(covariance_gradient, residual)
    beta_gradient = np.empty((outcomes, size))
    for k in range(outcomes):
        for c in range(size):
            beta_gradient[k, c] = -b_gradient[k, c]
        for m in range(k + 1, outcomes):
            residual_gradient[k, m] = 0.0
    for k in range(every):
        for m in range(k + 1, every):
            L_gradient[k, m] = 0.0
    return np.asarray(log_density), beta_gradient, residual_gradient, L_gradient


@compiled_by_numba()
class JointLikelihood(ExactLikelihood):
    """Log likelihood of all outcomes, the therapists' effects integrated out.

    Notes
    -----
    With K outcomes, p coefficients, q therapist effects, J therapists and G patterns of outcomes,
    the inputs are ``beta`` (K, p); ``residual`` (K, K), lower factor of the residual covariance;
    ``loading`` (q K, q K), lower factor of the covariance of a therapist's effects, effect by
    effect and outcome by outcome; and the arrays of `models.joint.joint.JointDesign.arrays`.
    """

    parameters = 3

    def loops(self) -> Callable[..., tuple[Any, ...]]:
        """Value and gradients, in a function that numba compiles."""
        return _likelihood
