"""Several trials: the collapsed density against the dense normal, and the operation's gradients."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from trials_together import Truth, made_trials

from alliance.models.gaussian.generalised_squares import _sums
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec
from alliance.models.trials.collapsed import collapse_trials
from alliance.models.trials.design import LEVEL, trials_design
from alliance.models.trials.operation import _over_trials

PRIORS = Priors()
VALUES = {
    "residual_sd": np.array([[0.7, 0.9, 0.8], [0.6, 0.7, 1.1]]),
    "therapist_sd": np.array([0.25, 0.4]),
    "therapist_slope_sd": np.array([0.15, 0.0]),
    "therapist_correlation": np.array([0.4, -0.2]),
    "trial_arm_sd": np.array([0.3, 0.0]),
    "trial_slope_sd": np.array([0.12, 0.2]),
    "trial_interaction_sd": np.array([0.1, 0.05]),
}


def test_the_collapsed_density_is_that_of_the_rows_written_out() -> None:
    """Three trials, three arms of which one trial lacks one; the covariance of all rows, dense."""
    truth = Truth(arm=(-0.2, 0.0, 0.2), interaction=(-0.1, 0.0, 0.1))
    rows = made_trials(3, 5, truth=truth, therapists=3, patients=8, lacking={1: [2]})
    design = rows.design()
    found = collapse_trials(design, PRIORS, VALUES).log_likelihood
    encoding = design.pooled.encoding
    scaling = encoding.scaling
    X = encoding.matrix(rows.arm, rows.moderator, rows.baseline, np.empty((len(rows.arm), 0)))
    y = (rows.outcome - scaling.outcome[0]) / scaling.outcome[1]
    means = np.array([X[rows.trial == t, 4].mean() for t in range(3)])
    assert design.centres == pytest.approx(means)
    within = X.copy()  # columns: intercept, baseline, arms, moderator, interactions
    within[:, 4] -= means[rows.trial]
    within[:, 5:7] -= means[rows.trial][:, None] * X[:, 2:4]
    across = means[rows.trial][:, None] * X[:, 2:4]
    for d in range(2):
        value = {name: own[d] for name, own in VALUES.items()}
        kinds = [(2, "arm", "trial_arm_sd"), (3, "arm", "trial_arm_sd"),
                 (4, "moderator_slope", "trial_slope_sd"),
                 (5, "interaction", "trial_interaction_sd"),
                 (6, "interaction", "trial_interaction_sd")]  # fmt: skip
        same = rows.trial[:, None] == rows.trial
        V = np.diag(value["residual_sd"][rows.trial] ** 2)
        V += PRIORS.interaction**2 * across @ across.T
        for column, prior, spread in kinds:
            outer = np.outer(within[:, column], within[:, column])
            V += outer * (getattr(PRIORS, prior) ** 2 + same * value[spread] ** 2)
        V += same * (LEVEL * PRIORS.intercept) ** 2
        V += same * PRIORS.baseline_slope**2 * np.outer(within[:, 1], within[:, 1])
        u, v, r = (value[f"therapist_{name}"] for name in ("sd", "slope_sd", "correlation"))
        x = within[:, 4]
        own = rows.therapist[:, None] == rows.therapist
        V += own * (u**2 + r * u * v * (x[:, None] + x) + v**2 * np.outer(x, x))
        assert found[d] == pytest.approx(multivariate_normal(None, V).logpdf(y), abs=1e-7)


def test_draws_have_the_mean_and_spread_of_the_posterior_given_the_sds() -> None:
    """Of fixed effects given the SDs: one contrast's mean and SD by generalised least squares."""
    rows = made_trials(4, 3, therapists=3, patients=10)
    design = rows.design(ModelSpec("y", "none", several_trials="fixed"))
    many = 40_000
    values = {"residual_sd": np.full((many, 4), 0.8)}
    drawn = collapse_trials(design, PRIORS, values).draw(np.random.default_rng(1))
    one = design.designs
    p, m = len(design.coefficients), design.maps.shape[2]
    own = [k for k in range(p) if k not in design.shared]
    size = m + 4 * len(own)
    precision = np.diag(
        np.concatenate([design.means_prior(PRIORS), np.tile(design.own_prior(PRIORS)[own], 4)])
        ** -2.0
    )
    right = np.zeros(size)
    for t, each in enumerate(one):
        A = np.zeros((p, size))
        A[:, :m] = design.maps[t]
        A[own, m + t * len(own) : m + (t + 1) * len(own)] = np.eye(len(own))
        precision += A.T @ each.moments.XtX @ A / 0.64
        right += A.T @ each.moments.Xty / 0.64
    covariance = np.linalg.inv(precision)
    mean, sd = covariance @ right, np.sqrt(np.diag(covariance))
    error = sd[: len(design.shared)] / np.sqrt(many)
    assert (np.abs(drawn.means.mean(axis=0) - mean[: len(error)]) < 4.5 * error).all()
    assert drawn.means.std(axis=0) == pytest.approx(sd[: len(error)], rel=0.02)
    assert np.ptp(drawn.own[:, :, design.shared[1]], axis=1).max() < 1e-12  # the same in all trials


def test_the_operation_has_the_gradients_of_its_sums() -> None:
    """Central differences of 1e-6; the sums themselves are those of each trial alone."""
    rows = made_trials(3, 8, therapists=2, patients=6)
    design = rows.design()
    columns = np.array(design.pooled.effect_columns)
    places = np.array([(0, 0, 0), (1, 0, 1), (1, 1, 2)])
    products = np.stack([own.moments.cross_products.sum(axis=0) for own in design.designs])
    within = np.concatenate(
        [own.moments.cross_products[:, columns] for own in design.designs]
    ).transpose(1, 0, 2)
    starts = np.array([0, 2, 4, 6])
    rng = np.random.default_rng(2)
    beta, elements = rng.normal(0, 0.3, (3, products.shape[1] - 1)), rng.uniform(0.1, 0.5, (3, 3))
    sums = _over_trials(_sums)

    def value(beta: np.ndarray, elements: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = sums(beta, elements, products, within, starts, columns, places)
        return found[0], found[1]

    found = sums(beta, elements, products, within, starts, columns, places)
    for t in range(3):
        alone = _sums(
            beta[t], elements[t][:, None], products[t], within[:, 2 * t : 2 * t + 2], columns,
            places, False,
        )  # fmt: skip
        assert (found[0][t], found[1][t]) == (alone[0], alone[1])
        for k in range(beta.shape[1]):
            step = np.zeros_like(beta)
            step[t, k] = 1e-6
            high, low = value(beta + step, elements)[0], value(beta - step, elements)[0]
            assert (high - low)[t] / 2e-6 == pytest.approx(found[2][t, k], rel=1e-5, abs=1e-5)
        for k in range(3):
            step = np.zeros_like(elements)
            step[t, k] = 1e-6
            high, low = value(beta, elements + step), value(beta, elements - step)
            for which in (0, 1):
                slope = (high[which] - low[which])[t] / 2e-6
                assert slope == pytest.approx(found[3 + which][t, k], rel=1e-5, abs=1e-5)


def test_a_trial_of_one_arm_tells_nothing_of_contrasts() -> None:
    """Its level may be anything: the contrast of B and A moves by less than 1% of its SD."""
    rows = made_trials(4, 11, lacking={3: [1]})
    design = rows.design()
    values = {name: own[:1] for name, own in VALUES.items()}
    values["residual_sd"] = np.full((1, 4), 0.8)
    arm = design.shared.index(design.coefficients.index("arm[1]"))

    def contrast(design_: object, residual: int) -> tuple[float, float]:
        own = values | {"residual_sd": values["residual_sd"][:, :residual]}
        repeated = {name: np.repeat(each, 20_000, axis=0) for name, each in own.items()}
        means = collapse_trials(design_, PRIORS, repeated).draw(np.random.default_rng(4)).means  # type: ignore[arg-type]
        return float(means[:, arm].mean()), float(means[:, arm].std())

    flat = values | {"trial_slope_sd": np.zeros(1), "trial_interaction_sd": np.zeros(1)}
    values.update(flat)
    # Without across-trial columns, which one trial more or less would move
    same = made_trials(4, 11, lacking={3: [1]}, truth=Truth(spread=0.0)).design()
    whole, sd = contrast(same, 4)
    less, _ = contrast(same.without(3), 3)
    assert abs(whole - less) < 0.03 * sd  # 20,000 draws each: Monte Carlo error .01 SD


def test_who_is_in_which_trial() -> None:
    rows = made_trials(3, 1, therapists=2, patients=5)
    design = rows.design()
    assert design.trials == ("trial 1", "trial 2", "trial 3")
    assert design.patients.tolist() == [10, 10, 10]
    again = trials_design(design.pooled, rows.trial_of, ModelSpec("y", several_trials="fixed"))
    assert again.spreads == ()
    left = design.without(1)
    assert left.trials == ("trial 1", "trial 3")
    assert left.patients.tolist() == [10, 10]
    assert left.centres == pytest.approx(design.centres[[0, 2]])
