"""Therapist effects integrated out numerically: against quadrature, formulas and differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from example_families import family_design
from integrated_examples import NUMERIC, by_quadrature, grid, some_draws
from numpy.typing import NDArray
from scipy import special, stats

from alliance.data_prep.errors import InputError
from alliance.models.families.families import FAMILIES
from alliance.models.integrated.effects import draw_effects
from alliance.models.integrated.kernels import MOST_PAIRS, kernel_of
from alliance.models.integrated.likelihood import Patients, log_marginal, pointwise
from alliance.models.integrated.modes import Conditional
from alliance.models.integrated.shares import Shares
from alliance.models.priors import Priors

Array = NDArray[np.float64]


@pytest.mark.parametrize("family", NUMERIC)
def test_one_effect_is_integrated_as_by_200_nodes(family: str) -> None:
    design = family_design(family, therapist="intercept")
    draws = some_draws(design, 4)
    found = log_marginal(Patients(design), draws, 19)
    # 200 nodes over 8 SDs of the prior are as dense as 12 for each SD
    np.testing.assert_allclose(found, by_quadrature(design, draws, 200), atol=1e-5)


@pytest.mark.parametrize("family", NUMERIC)
def test_two_effects_are_integrated_as_by_a_dense_grid(family: str) -> None:
    design = family_design(family, patients=30)
    draws = some_draws(design, 2)
    found = log_marginal(Patients(design), draws, 19)
    np.testing.assert_allclose(found, by_quadrature(design, draws, 120), atol=1e-4)


def test_effects_of_arms_are_integrated_too() -> None:
    """Three effects: mean and two contrasts of three arms."""
    design = family_design("binary", therapist="intercept", therapist_by_arm=True, patients=20)
    assert len(design.effects) == 3
    draws = some_draws(design, 1)
    found = log_marginal(Patients(design), draws, 9)
    np.testing.assert_allclose(found, by_quadrature(design, draws, 40), atol=1e-4)


@pytest.mark.parametrize("family", NUMERIC)
def test_more_nodes_come_nearer(family: str) -> None:
    design = family_design(family, therapist="intercept")
    draws, patients = some_draws(design, 3), Patients(family_design(family, therapist="intercept"))
    best = log_marginal(patients, draws, 41)
    errors = [np.abs(log_marginal(patients, draws, m) - best).max() for m in (3, 7, 13)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-3


@pytest.mark.parametrize("family", NUMERIC)
def test_without_spread_nothing_is_integrated(family: str) -> None:
    """Products over patients are the family's own formula."""
    design = family_design(family)
    draws = some_draws(design, 3, sd=1e-9)
    patients = Patients(design)
    every = np.arange(len(design.y))
    direct = pointwise(patients, draws, every, patients.predictor(draws, every)).sum(axis=0)
    np.testing.assert_allclose(log_marginal(patients, draws, 3), direct, rtol=1e-9)


def test_long_scales_and_many_patients_stay_finite() -> None:
    """Beyond `MOST_PAIRS` gamma functions; products of many factors are taken apart."""
    design = family_design("beta_binomial", patients=400)
    top = 4 * MOST_PAIRS
    long = replace(design, y=np.round(design.y * top / design.scale.top))
    long = replace(long, scale=replace(design.scale, top=top))
    for one in (design, long):
        draws, patients = some_draws(one, 2, sd=1e-9), Patients(one)
        every = np.arange(len(one.y))
        direct = pointwise(patients, draws, every, patients.predictor(draws, every)).sum(axis=0)
        np.testing.assert_allclose(log_marginal(patients, draws, 3), direct, rtol=1e-9)


def test_a_family_without_kernel_is_refused_by_name() -> None:
    gaussian = FAMILIES["gaussian"]
    with pytest.raises(InputError, match="gaussian are not integrated numerically"):
        kernel_of(gaussian, np.zeros(1), {}, family_design("gaussian").scale)


@pytest.mark.parametrize("family", NUMERIC)
def test_slopes_are_those_of_the_formula(family: str) -> None:
    design = family_design(family)
    draws, patients = some_draws(design, 3), Patients(design)
    eta = patients.predictor(draws, patients.rows)
    step = 1e-5
    forward, backward = (
        pointwise(patients, draws, patients.rows, eta + sign * step) for sign in (1, -1)
    )
    found = patients.kernel(draws).slopes(eta, exact=True)
    np.testing.assert_allclose(found.score, (forward - backward) / (2 * step), atol=1e-5)
    assert (found.weight > 0).all()
    if family in ("ordinal", "binary", "count"):  # the others' is an expectation
        wide = 1e-3
        forward, middle, backward = (
            pointwise(patients, draws, patients.rows, eta + move) for move in (wide, 0.0, -wide)
        )
        bend = -(forward - 2 * middle + backward) / wide**2
        np.testing.assert_allclose(found.weight, bend, atol=1e-4)


def test_shares_are_cutpoints_and_their_prior_is_dirichlet() -> None:
    shares = Shares(np.array([3.0, 0.0, 9.0, 4.0]), 1.5)
    at = np.cbrt(np.array([[0.2, 0.05, 0.3], [0.1, 0.2, 0.25]]))
    assert shares.valid(at).all()
    assert not shares.valid(np.cbrt(np.array([[0.5, 0.3, 0.3]]))).any()
    expected = np.array([[0.2, 0.05, 0.45, 0.3], [0.1, 0.2, 0.45, 0.25]])
    cumulative = np.cumsum(expected, axis=1)[:, :-1]
    np.testing.assert_allclose(shares.cutpoints(at), special.logit(cumulative))
    # Densities of cube roots: Dirichlet's, times 3 s^2 for each
    log = [stats.dirichlet.logpdf(own, np.full(4, 1.5)) for own in expected]
    log = np.array(log) + np.log(3 * at**2).sum(axis=1)
    np.testing.assert_allclose(np.diff(shares.log_prior(at)), np.diff(log))
    assert shares.log_prior(-at)[0] == -np.inf


def test_shares_have_the_slopes_of_differences() -> None:
    shares = Shares(np.array([3.0, 0.0, 9.0, 4.0]), 1.5)
    at = np.cbrt(np.array([[0.2, 0.05, 0.3]]))
    weights = np.array([[0.7, -1.2, 0.4]])
    step = 1e-4 * np.eye(3)
    first, second = shares.chain(at, weights)
    moved = (shares.cutpoints(at + step) - shares.cutpoints(at - step)).T / 2e-4
    np.testing.assert_allclose(first[0], moved, rtol=1e-5)
    bend = [
        [
            (
                shares.cutpoints(at + a + b)
                - shares.cutpoints(at + a - b)
                - shares.cutpoints(at - a + b)
                + shares.cutpoints(at - a - b)
            )[0]
            @ weights[0]
            / 4e-8
            for b in step
        ]
        for a in step
    ]
    np.testing.assert_allclose(second[0], bend, rtol=1e-3, atol=1e-3)
    gradient, hessian = shares.prior_slopes(at)
    slope = (shares.log_prior(at + step) - shares.log_prior(at - step)) / 2e-4
    np.testing.assert_allclose(gradient[0], slope, rtol=1e-5)
    changes = [
        (shares.prior_slopes(at + own)[0] - shares.prior_slopes(at - own)[0])[0] / 2e-4
        for own in step
    ]
    np.testing.assert_allclose(-hessian[0], changes, rtol=1e-5)


@pytest.mark.parametrize("family", NUMERIC)
def test_modes_are_modes(family: str) -> None:
    """Without therapists the information is that of the log posterior itself."""
    design = family_design(family, therapist="none")
    conditional = Conditional(Patients(design), Priors())
    draws = some_draws(design, 2)
    modes = conditional.modes(draws, np.tile(conditional.start(), (2, 1)), None)
    assert modes.found.all()

    def density(at: Array) -> Array:
        own = conditional.draws(at, draws.take(np.zeros(len(at), dtype=np.int64)))
        return conditional.log_prior(at) + log_marginal(conditional.patients, own, 1)

    sd = np.linalg.cholesky(np.linalg.inv(modes.information[0])).T  # rows: one SD each way
    middle = density(modes.at[:1])
    for row in 0.05 * sd:
        forward, backward = (density(modes.at[:1] + sign * row) for sign in (1, -1))
        # An SD of the posterior, or of what is expected of it: a Student-t's bends by what is seen
        assert abs(float((forward - backward)[0]) / 0.1) < 0.01
        bend = -float((forward - 2 * middle + backward)[0]) / 0.05**2
        assert bend == pytest.approx(
            1, abs=0.4 if family in ("student_t", "beta_binomial") else 0.01
        )


@pytest.mark.parametrize("family", NUMERIC)
def test_modes_with_therapists_are_close_to_those_of_the_integral(family: str) -> None:
    design = family_design(family)
    conditional = Conditional(Patients(design), Priors())
    draws = some_draws(design, 1)
    modes = conditional.modes(draws, conditional.start()[None], None)
    assert modes.found.all()
    sd = np.linalg.cholesky(np.linalg.inv(modes.information[0])).T
    points = np.concatenate([modes.at, modes.at + 0.5 * sd, modes.at - 0.5 * sd])
    own = conditional.draws(points, draws.take(np.zeros(len(points), dtype=np.int64)))
    density = conditional.log_prior(points) + log_marginal(conditional.patients, own, 9)
    forward, backward = density[1 : 1 + len(sd)], density[1 + len(sd) :]
    assert np.abs(forward - backward).max() < 0.4  # less than half an SD from the mode
    assert (density[0] > np.minimum(forward, backward)).all()
    assert modes.log_density[0] == pytest.approx(
        density[0] - 0.5 * np.linalg.slogdet(modes.information[0])[1], abs=0.6
    )


@pytest.mark.parametrize("family", NUMERIC)
def test_effects_are_drawn_as_their_distribution_has_them(family: str) -> None:
    """Means and SDs of two effects against a dense grid; nobody's are of the population."""
    design = family_design(family, patients=40)
    patients, number = Patients(design), 4_000
    one = some_draws(design, 1)
    many = one.take(np.zeros(number, dtype=np.int64))
    drawn = draw_effects(patients, many, np.random.default_rng(2))
    points, log_weights = grid(80, 2)
    L = np.array([[float(np.squeeze(e)) for e in row] for row in one.factor(2)])
    sizes = design.patients_of_therapists
    for j in (int(sizes.argmax()), int(sizes.argmin())):
        rows = np.flatnonzero(design.therapist_index == j)
        columns = design.X[np.ix_(rows, design.effect_columns)]
        eta = patients.predictor(one, rows) + design.scale.link_unit * columns @ L @ points.T
        grown = one.take(np.zeros(len(points), dtype=np.int64))
        log = log_weights + pointwise(patients, grown, rows, eta).sum(axis=0)
        weights = np.exp(log - special.logsumexp(log))
        values = points @ L.T
        mean = weights @ values
        sd = np.sqrt(weights @ (values - mean) ** 2)
        assert (np.abs(drawn[:, j].mean(axis=0) - mean) < 4 * sd / np.sqrt(number)).all()
        # 4 standard errors of an SD of 4,000 draws
        np.testing.assert_allclose(drawn[:, j].std(axis=0), sd, rtol=0.05)
    assert sizes.min() == 0
