"""The model of visits against the dense normal density that it is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from alliance.models.visits.covariance import (
    STRUCTURES,
    CovarianceShape,
    correlation_limits,
    correlation_matrix,
    correlation_parameters,
    relative_gaps,
)
from alliance.models.visits.likelihood import VisitModel, draw_effects, gradients, integrate
from alliance.models.visits.moments import terms_at, visit_moments, visit_terms
from alliance.models.visits.operation import VisitsLikelihood, distances, likelihood_data

V, P_COLUMNS = 4, 4  # visits; columns: intercept, moderator, arm, covariate
BY_VISIT = (True, True, True, False)


def example(seed=1, n=37, therapists=6, arms=1, by_visit_effects=False, effects=2):
    """Patients with random columns, half of them with visits missing, a therapist without any."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(n), rng.standard_normal((n, P_COLUMNS - 1))])
    Y = rng.standard_normal((n, V)) + X[:, [1]]
    Y[rng.random((n, V)) < 0.3] = np.nan
    Y[:3] = np.nan  # never seen at all
    group = rng.integers(arms, size=n)
    therapist = rng.integers(therapists - 2, size=n)
    therapist[5] = therapists - 2  # with one patient; the last has none
    therapist[6:8] = -1  # and these have no therapist
    places = [(V, 0), (V, 1)][:effects]
    if by_visit_effects:
        places += [(visit, 0) for visit in range(V)]
    moments = visit_moments(X, Y, group, therapist, therapists if places else 0, (0, 1))
    terms = visit_terms(BY_VISIT, V)
    precision = 1 / rng.uniform(0.3, 2, len(terms)) ** 2
    model = VisitModel(moments, terms, terms_at(places), precision)
    return model, X, Y, group, therapist


@pytest.mark.mcmc  # numba compiles the loops, which takes longer than all other tests here
@pytest.mark.parametrize(("one_sd", "effects", "deviations"), [(False, 2, True), (True, 1, False)])
@pytest.mark.parametrize(
    ("structure", "times"), [*((own, None) for own in STRUCTURES), ("ar1", (1.0, 2.0, 4.0, 9.0))]
)
def test_operation_goes_from_parameters_to_slopes(structure, times, one_sd, effects, deviations):
    """Value as of the covariances, slopes as of central differences of 1e-6, to 1e-6."""
    model, *_ = example(7, 37, 6, 2, deviations, effects)
    gaps = relative_gaps(times)
    extra = V if deviations else 0
    shape = CovarianceShape(structure, V, not one_sd, 2, effects, extra, gaps)
    rng = np.random.default_rng(8)
    low, high = shape.limits
    at = [
        rng.uniform(0.5, 1.5, (2, shape.sds)),
        low + (high - low) * rng.uniform(0.1, 0.9, (2, shape.correlations)),
        *(np.asarray(value) for value in (0.4, 0.3, -0.5, 0.2)),
    ]
    data = distances(shape), *likelihood_data(model).values()
    value, *slopes = VisitsLikelihood(structure).loops()(*at, *data)
    loading = np.diag([0.4, 0.3 * np.sqrt(0.75)][:effects] + [0.2] * extra)
    if effects > 1:
        loading[1, 0] = 0.3 * -0.5
    found = integrate(model, shape.residual(at[0], at[1])[None], loading[None])
    assert abs(value - found.log_likelihood[0]) < 1e-9
    step = 1e-6
    for number, slope in enumerate(slopes):
        for place in np.ndindex(at[number].shape):
            ends = []
            for sign in (1, -1):
                moved = [each.copy() for each in at]
                moved[number][place] += sign * step
                ends.append(VisitsLikelihood(structure).loops()(*moved, *data)[0])
            assert abs((ends[0] - ends[1]) / (2 * step) - slope[place]) < 1e-6


def random_covariances(model, structure, seed, groups=1, gaps=None):
    rng = np.random.default_rng(seed)
    low, high = correlation_limits(structure, V, gaps)
    share = rng.uniform(0.1, 0.9, (groups, correlation_parameters(structure, V)))
    R = correlation_matrix(structure, low + (high - low) * share, V, np, gaps)
    sd = rng.uniform(0.5, 1.5, (groups, V))
    loading = np.tril(rng.normal(0, 0.5, (len(model.effects), len(model.effects))))
    return sd[:, :, None] * R * sd[:, None, :], loading


def dense(model, X, Y, group, therapist, residual, loading):
    """Mean zero and covariance of all seen scores, with the design matrix of the coefficients."""
    rows, design, effect = [], [], []
    for i, t in zip(*np.nonzero(~np.isnan(Y)), strict=True):
        rows.append((i, t))
        at = [
            [X[i, c] if v in (t, V) else 0.0 for v, c in zip(e.visit, e.column, strict=True)]
            for e in (model.terms, model.effects)
        ]
        design.append(at[0])
        effect.append(at[1])
    B, Z = np.array(design), np.array(effect).reshape(len(rows), len(model.effects))
    S = loading @ loading.T
    covariance = np.zeros((len(rows), len(rows)))
    for (a, (i, t)), (b, (k, s)) in itertools.product(enumerate(rows), repeat=2):
        if i == k:
            covariance[a, b] += residual[group[i], t, s]
        if therapist[i] == therapist[k] >= 0:
            covariance[a, b] += Z[a] @ S @ Z[b]
    return np.array([Y[i, t] for i, t in rows]), B, Z, covariance, rows


CASES = [
    (structure, arms, by_visit, effects, times)
    for structure in STRUCTURES
    for arms, by_visit, effects in ((1, False, 2), (2, False, 2), (2, True, 1), (1, False, 0))
    for times in ((None, (1.0, 2.0, 4.0, 9.0)) if structure == "ar1" else (None,))
]


@pytest.mark.parametrize(("structure", "arms", "by_visit", "effects", "times"), CASES)
def test_likelihood_is_the_dense_normal_density(structure, arms, by_visit, effects, times):
    """To 1e-8, with missing patterns, therapists of one and of no patient, residuals by arm."""
    model, X, Y, group, therapist = example(3, 37, 6, arms, by_visit, effects)
    for seed in range(3):
        residual, loading = random_covariances(model, structure, seed, arms, relative_gaps(times))
        y, B, _, covariance, _ = dense(model, X, Y, group, therapist, residual, loading)
        whole = covariance + (B / model.precision) @ B.T
        expected = stats.multivariate_normal(np.zeros(len(y)), whole).logpdf(y)
        found = integrate(model, residual[None], loading[None])
        assert abs(found.log_likelihood[0] - expected) < 1e-8
        inverse = np.linalg.inv(covariance)
        precision = np.diag(model.precision) + B.T @ inverse @ B
        assert np.allclose(found.posterior_precision[0], precision, rtol=1e-9, atol=1e-9)
        assert np.allclose(found.mean[0], np.linalg.solve(precision, B.T @ inverse @ y), atol=1e-9)


@pytest.mark.parametrize("arms", [1, 2])
@pytest.mark.parametrize("effects", [0, 2])
def test_restricted_likelihood_is_the_density_of_the_contrasts(arms, effects):
    """That of the scores' components outside the design's columns, up to log|X'X| / 2."""
    model, X, Y, group, therapist = example(5, 37, 6, arms, False, effects)
    flat = VisitModel(model.moments, model.terms, model.effects, np.zeros(len(model.terms)))
    residual, loading = random_covariances(model, "unstructured", 2, arms)
    y, B, _, covariance, _ = dense(model, X, Y, group, therapist, residual, loading)
    whole, _ = np.linalg.qr(B, mode="complete")
    outside = whole[:, B.shape[1] :]
    contrasts = outside.T @ y
    expected = stats.multivariate_normal(
        np.zeros(len(contrasts)), outside.T @ covariance @ outside
    ).logpdf(contrasts)
    expected -= np.linalg.slogdet(B.T @ B)[1] / 2
    found = integrate(flat, residual[None], loading[None])
    assert abs(found.log_likelihood[0] - expected) < 1e-8


@pytest.mark.parametrize(("arms", "by_visit", "effects"), [(1, False, 2), (2, True, 1), (2, 0, 0)])
@pytest.mark.parametrize("proper", [True, False])
def test_gradients_are_finite_differences(arms, by_visit, effects, proper):
    """By central differences of 1e-5, whose error is near 1e-9."""
    model, *_ = example(7, 37, 6, arms, by_visit, effects)
    if not proper:
        model = VisitModel(model.moments, model.terms, model.effects, 0 * model.precision)
    residual, loading = random_covariances(model, "unstructured", 3, arms)
    by_residual, by_loading = gradients(
        model, residual[None], loading[None], integrate(model, residual[None], loading[None])
    )

    def value(residual, loading):
        return integrate(model, residual[None], loading[None]).log_likelihood[0]

    step = 1e-5
    for k, t, s in np.ndindex(residual.shape):
        if s > t:
            continue
        change = np.zeros_like(residual)
        change[k, t, s] = change[k, s, t] = step
        slope = value(residual + change, loading) - value(residual - change, loading)
        expected = by_residual[0, k, t, s] * (1 if s == t else 2)
        assert abs(slope / (2 * step) - expected) < 1e-6
    for a, b in zip(*np.tril_indices(len(loading)), strict=True):
        change = np.zeros_like(loading)
        change[a, b] = step
        slope = value(residual, loading + change) - value(residual, loading - change)
        assert abs(slope / (2 * step) - by_loading[0, a, b]) < 1e-6


def test_coefficients_and_effects_are_drawn_with_their_moments():
    """Jointly normal given scores and covariances; 40,000 draws within 5 Monte Carlo errors."""
    model, X, Y, group, therapist = example(9, 37, 6, 2, False, 2)
    residual, loading = random_covariances(model, "toeplitz", 4, 2)
    y, B, Z, _, rows = dense(model, X, Y, group, therapist, residual, loading)
    J, Q, P = model.moments.therapists, len(model.effects), len(model.terms)
    design = np.zeros((len(y), P + J * Q))
    design[:, :P] = B
    for a, (i, _) in enumerate(rows):
        if therapist[i] < 0:
            continue
        start = P + therapist[i] * Q
        design[a, start : start + Q] = Z[a]
    noise = np.zeros((len(y), len(y)))
    for (a, (i, t)), (b, (k, s)) in itertools.product(enumerate(rows), repeat=2):
        noise[a, b] = residual[group[i], t, s] if i == k else 0.0
    prior = np.zeros((P + J * Q, P + J * Q))
    prior[:P, :P] = np.diag(model.precision)
    prior[P:, P:] = np.kron(np.eye(J), np.linalg.inv(loading @ loading.T))
    covariance = np.linalg.inv(prior + design.T @ np.linalg.solve(noise, design))
    mean = covariance @ design.T @ np.linalg.solve(noise, y)
    n = 40_000
    drawn = draw_effects(
        model,
        np.broadcast_to(residual, (n, *residual.shape)),
        np.broadcast_to(loading, (n, *loading.shape)),
        np.random.default_rng(1),
    )
    every = np.hstack([drawn[0], drawn[1].reshape(n, -1)])
    error = np.sqrt(np.diag(covariance) / n)
    assert (np.abs(every.mean(axis=0) - mean) < 5 * error).all()
    sd = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(sd, sd)
    spread = np.cov(every.T) / np.outer(sd, sd)
    assert np.abs(spread - correlation).max() < 5 * np.sqrt(2 / n)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("visits", [2, 3, 7])
def test_every_structure_is_a_correlation_matrix(structure, visits):
    """Positive definite with ones on the diagonal, wherever its parameters are."""
    rng = np.random.default_rng(4)
    low, high = correlation_limits(structure, visits)
    size = correlation_parameters(structure, visits)
    R = correlation_matrix(structure, rng.uniform(low, high, (50, size)), visits, np)
    assert R.shape == (50, visits, visits)
    assert np.allclose(np.diagonal(R, axis1=1, axis2=2), 1)
    assert np.allclose(R, np.swapaxes(R, 1, 2))
    assert np.linalg.eigvalsh(R).min() > 0


def test_toeplitz_is_one_correlation_for_each_lag():
    """The second autocorrelation is a1^2 + a2 (1 - a1^2) of the partial ones."""
    R = correlation_matrix("toeplitz", np.array([0.5, -0.3]), 3, np)
    second = 0.25 - 0.3 * 0.75
    assert np.allclose(R, [[1, 0.5, second], [0.5, 1, 0.5], [second, 0.5, 1]])


def test_ar1_with_uneven_times_is_a_power_of_the_distance():
    """Over the mean distance of neighbours: 8 weeks apart of 12 on average, and 16."""
    gaps = relative_gaps((0.0, 8.0, 24.0))
    R = correlation_matrix("ar1", np.array([0.6]), 3, np, gaps)
    assert np.allclose(R[0, 1], 0.6 ** (8 / 12))
    assert np.allclose(R[1, 2], 0.6 ** (16 / 12))
    assert relative_gaps((0.0, 4.0, 8.0)) is None
