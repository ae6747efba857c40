"""The joint model's likelihood with its gradient, in one operation; formulas in `models.joint`."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytensor.tensor as pt
from numpy.typing import NDArray
from pytensor.gradient import DisconnectedType, grad_not_implemented
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_default_op_cache_key

Array = NDArray[np.float64]


def _likelihood(
    beta: Array,
    residual: Array,
    factors: Array,
    seen: NDArray[np.int64],
    patients: NDArray[np.int64],
    cross_products: Array,
    squares: Array,
    products: Array,
) -> tuple[float, Array, Array, Array]:
    """Log likelihood and gradients; numba compiles it, and Python understands it."""
    outcomes, size = beta.shape
    patterns, therapists, effects = products.shape[:3]
    every = effects * outcomes  # all effects of a therapist
    b = np.empty((outcomes, size + 1))
    b[:, :size] = -beta
    b[:, size] = 1.0
    b_gradient = np.zeros_like(b)
    covariance = residual @ residual.T
    precision = np.zeros((patterns, outcomes, outcomes))
    precision_gradient = np.zeros((patterns, outcomes, outcomes))
    ZtR = np.zeros((patterns, therapists, effects, outcomes))
    A = np.zeros((therapists, every, every))
    t = np.zeros((therapists, every))
    log_density = 0.0
    for g in range(patterns):
        there = np.flatnonzero(seen[g])
        part = np.empty((len(there), len(there)))
        for k in range(len(there)):
            for m in range(len(there)):
                part[k, m] = covariance[there[k], there[m]]
        log_determinant = 2 * np.log(np.diag(np.linalg.cholesky(part))).sum()
        inverse = np.linalg.inv(part)
        for k in range(len(there)):
            for m in range(len(there)):
                precision[g, there[k], there[m]] = inverse[k, m]
        constant = len(there) * np.log(2 * np.pi)
        log_density -= 0.5 * patients[g] * (constant + log_determinant)
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
    L = np.zeros((every, every))
    for a in range(effects):
        L[a * outcomes : (a + 1) * outcomes, a * outcomes : (a + 1) * outcomes] = factors[a]
    L_gradient = np.zeros((every, every))
    for j in range(therapists):
        AL = A[j] @ L
        M = np.eye(every) + L.T @ AL
        log_density -= np.log(np.diag(np.linalg.cholesky(M))).sum()
        inverse = np.linalg.inv(M)
        w = L.T @ t[j]
        x = inverse @ w
        v = L @ x
        log_density += 0.5 * (w * x).sum()
        L_gradient += np.outer(t[j] - A[j] @ v, x) - AL @ inverse
        A_gradient = -0.5 * (L @ inverse @ L.T + np.outer(v, v))
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
        P = precision[g]
        covariance_gradient -= 0.5 * patients[g] * P + P @ precision_gradient[g] @ P
    residual_gradient = (covariance_gradient + covariance_gradient.T) @ residual
    factors_gradient = np.zeros_like(factors)
    for a in range(effects):
        own = L_gradient[a * outcomes : (a + 1) * outcomes, a * outcomes : (a + 1) * outcomes]
        factors_gradient[a] = np.tril(own)
    return log_density, -b_gradient[:, :size], np.tril(residual_gradient), factors_gradient


class JointLikelihood(Op):
    """Log likelihood of all outcomes, the therapists' effects integrated out.

    Notes
    -----
    With K outcomes, p coefficients, q therapist effects, J therapists and G patterns of outcomes,
    the inputs are ``beta`` (K, p); ``residual`` (K, K), lower factor of the residual covariance;
    ``factors`` (q, K, K), lower factors of the covariances between outcomes of each therapist
    effect; and the arrays of `models.joint.JointDesign.arrays`. The first output is the log
    likelihood, the only one that can be differentiated; the others are its gradients.
    """

    __props__ = ()

    def make_node(self, *inputs: Any) -> Apply[Any, Any]:
        """Apply the operation to its eight inputs."""
        variables = [pt.as_tensor_variable(each) for each in inputs]
        outputs = [pt.dscalar(), *(variable.type() for variable in variables[:3])]
        return Apply(self, variables, outputs)

    def perform(self, node: Any, inputs: Sequence[Any], output_storage: Any) -> None:
        """Compute the outputs where nothing is compiled."""
        beta, residual, factors, *data = inputs
        found = _likelihood(beta, residual, factors, *data)
        for storage, value in zip(output_storage, found, strict=True):
            storage[0] = np.asarray(value)

    def pullback(
        self, inputs: Sequence[Variable], outputs: Sequence[Variable], cotangents: Sequence[Any]
    ) -> list[Variable]:
        """Gradients of the log likelihood, from the other outputs."""
        if not all(isinstance(each.type, DisconnectedType) for each in cotangents[1:]):
            raise NotImplementedError("The gradients of JointLikelihood have none themselves.")
        gradients = [cotangents[0] * output for output in outputs[1:]]
        data = range(len(gradients), len(inputs))
        return [*gradients, *(grad_not_implemented(self, k, inputs[k]) for k in data)]


@register_funcify_default_op_cache_key(JointLikelihood)
def _compiled_likelihood(op: JointLikelihood, **_: Any) -> tuple[Any, int]:
    """Numba's version, and a number that changes with its text, so that no old one is used."""
    likelihood = numba_njit(_likelihood)

    @numba_njit
    def joint_likelihood(  # type: ignore[no-untyped-def]
        beta, residual, factors, seen, patients, cross_products, squares, products
    ):
        value, by_beta, by_residual, by_factors = likelihood(
            beta, residual, factors, seen, patients, cross_products, squares, products
        )
        return np.asarray(value), by_beta, by_residual, by_factors

    text = inspect.getsource(_likelihood)
    return joint_likelihood, int(hashlib.sha256(text.encode()).hexdigest()[:15], 16)
