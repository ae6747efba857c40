"""Parameters of families as posteriors have them, and integrals over therapists on a dense grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from alliance.models.design.design import Design
from alliance.models.integrated.likelihood import FamilyDraws, Patients, pointwise

Array = NDArray[np.float64]
NUMERIC = ["student_t", "ordinal", "beta_binomial", "binary", "count"]
SPREADS = {"precision": 8.0, "degrees_of_freedom": 5.0, "residual_sd": 0.7, "overdispersion": 0.6}


def some_draws(design: Design, number: int, *, sd: float = 0.3, seed: int = 1) -> FamilyDraws:
    """Parameters as a posterior may have them."""
    random = np.random.default_rng(seed)
    beta = np.zeros((number, len(design.coefficients)))
    beta[:, design.present] = 0.3 * random.standard_normal((number, len(design.present)))
    own = {}
    for parameter in design.family.parameters:
        if parameter.name == "cutpoint":
            shares = random.dirichlet(np.full(design.scale.top + 1, 5.0), number)
            own["cutpoint"] = special.logit(np.cumsum(shares, axis=1)[:, :-1])
        else:
            own[parameter.name] = SPREADS[parameter.name] * np.exp(
                0.2 * random.standard_normal(number)
            )
    theirs = {}
    if "intercept" in design.effects:
        theirs["therapist_sd"] = sd * np.exp(0.3 * random.standard_normal(number))
    if "slope" in design.effects:
        theirs["therapist_slope_sd"] = sd * np.exp(0.3 * random.standard_normal(number))
        theirs["therapist_correlation"] = np.tanh(random.standard_normal(number))
    if any(effect.startswith("arm[") for effect in design.effects):
        theirs["therapist_arm_sd"] = sd * np.exp(0.3 * random.standard_normal(number))
    return FamilyDraws(beta, own, **theirs)


def grid(nodes: int, effects: int) -> tuple[Array, Array]:
    """Points (M, q) and log weights of a Gauss-Legendre product over 8 SDs of the prior."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    axes = np.meshgrid(*[8 * x] * effects, indexing="ij")
    points = np.stack([axis.ravel() for axis in axes], axis=1)
    weights = np.meshgrid(*[np.log(8 * w)] * effects, indexing="ij")
    log_weights = sum(weight.ravel() for weight in weights)
    return points, log_weights + stats.norm.logpdf(points).sum(axis=1)


def by_quadrature(design: Design, draws: FamilyDraws, nodes: int) -> Array:
    """Log marginal likelihoods on a grid that knows nothing of where the integrand lies."""
    patients, q = Patients(design), len(design.effects)
    points, log_weights = grid(nodes, q)
    total = np.zeros(len(draws))
    for k in range(len(draws)):
        one = draws.take(slice(k, k + 1))
        many = draws.take(np.full(len(points), k))
        L = np.array([[float(np.squeeze(e)) for e in row] for row in one.factor(q)])
        for j in range(len(design.therapists)):
            rows = np.flatnonzero(design.therapist_index == j)
            columns = design.X[np.ix_(rows, design.effect_columns)]
            moved = design.scale.link_unit * columns @ L @ points.T
            eta = patients.predictor(one, rows) + moved
            likelihood = pointwise(patients, many, rows, eta).sum(axis=0)
            total[k] += special.logsumexp(likelihood + log_weights)
        if len(patients.alone):
            eta = patients.predictor(one, patients.alone)
            total[k] += pointwise(patients, one, patients.alone, eta).sum()
    return total
