"""Therapists' effects of the joint model, drawn afterwards with NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alliance.models.gaussian.gaussian_draws import BLOCK_NUMBERS
from alliance.models.joint.joint import JointDesign

Array = NDArray[np.float64]


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
        outcome; see `models.joint.correlations.effects_factor`.
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
