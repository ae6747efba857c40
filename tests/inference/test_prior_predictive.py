"""Draws of the priors against closed forms and against PyMC's own, in every family and option."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pymc as pm
import pytest
from example_designs import example_patients
from option_trials import LIMITS, patients_of
from scipy import special, stats

from alliance.inference.posterior import Posterior
from alliance.inference.priors.prior_predictive import (
    MOST_PATIENTS,
    prior_draws,
    prior_effects,
    prior_predictive,
    prior_predictor,
)
from alliance.models.design.design import Design, build_design
from alliance.models.patient_level import patient_level_model
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec, ModeratorSpec

MANY = 20_000
# Kolmogorov-Smirnov on fixed seeds; some 20 comparisons, so that one in 50 runs would fail by
# chance if seeds were not fixed.
LEAST_P = 0.001
UNIFORM_CORRELATION = Priors(therapist_correlation=1.0)


def design_of(family: str = "gaussian", **options: Any) -> Design:
    patients = example_patients(patients=60, therapists=6)
    if family in LIMITS:
        low, high = LIMITS[family]
        score = np.clip(np.round(patients["outcome"]), low, high)
        patients = patients.assign(outcome=score)
    return build_design(
        patients, ModelSpec("example", family=family, **options), LIMITS.get(family)
    )


def drawn(design: Design, priors: Priors | None = None, *, joint: bool = False) -> Any:
    return prior_draws(
        design,
        priors or Priors(),
        draws=MANY,
        generator=np.random.default_rng(3),
        joint=joint,
    )


def ks(values: Any, distribution: Any) -> float:
    return float(stats.kstest(np.ravel(values), distribution.cdf).pvalue)


class TestDistributions:
    def test_coefficients_are_normal_with_their_scales(self) -> None:
        design = design_of()
        draws, scale = drawn(design), design.prior_sd(Priors())
        for k, name in enumerate(design.coefficients):
            values = draws["beta"].sel(coefficient=name)
            assert ks(values, stats.norm(0, scale[k])) > LEAST_P, name

    @pytest.mark.parametrize(
        ("name", "scale"),
        [
            ("residual_sd", 1.0),
            ("therapist_sd", 0.3),
            ("therapist_slope_sd", 0.3),
            ("therapist_arm_sd", 0.25),
        ],
    )
    def test_sds_are_half_normal(self, name: str, scale: float) -> None:
        draws = drawn(design_of(therapist_by_arm=True))
        assert ks(draws[name], stats.halfnorm(scale=scale)) > LEAST_P

    def test_the_correlation_has_the_lkj_density(self) -> None:
        # Density proportional to (1 - r^2)^(shape - 1): with shape 2, variance 1/5.
        values = drawn(design_of())["therapist_correlation"].values
        assert abs(values.mean()) < 4 * np.sqrt(0.2 / MANY)
        assert values.var() == pytest.approx(0.2, rel=0.03)

    def test_degrees_of_freedom_are_gamma_or_fixed(self) -> None:
        draws = drawn(design_of("student_t"))
        assert ks(draws["degrees_of_freedom"], stats.gamma(2, scale=10)) > LEAST_P
        assert "degrees_of_freedom" not in drawn(
            design_of("student_t"), Priors(degrees_of_freedom=4.0)
        )

    def test_an_average_patients_categories_have_dirichlet_shares(self) -> None:
        draws = drawn(design_of("ordinal"))
        below = special.expit(draws["cutpoint"].values[0])
        # Of 5 categories with concentration 1 each share is Beta(1, 4), a sum of k Beta(k, 5 - k).
        for k in range(1, 5):
            assert ks(below[:, k - 1], stats.beta(k, 5 - k)) > LEAST_P

    def test_a_joint_outcomes_slope_pools(self) -> None:
        # SD sqrt(0.3^2 + 0.15^2), with heavier tails than normal.
        slope = drawn(design_of(), joint=True)["beta"].sel(coefficient="moderator").values.ravel()
        assert slope.std() == pytest.approx(np.hypot(0.3, 0.15), rel=0.03)
        assert stats.kurtosis(slope) > 0.1

    @pytest.mark.mcmc
    @pytest.mark.parametrize(
        ("family", "options"),
        [
            ("gaussian", {"therapist_by_arm": True}),
            ("student_t", {}),
            ("ordinal", {"therapist": "intercept"}),
            ("beta_binomial", {}),
        ],
    )
    def test_pymc_draws_the_same(self, family: str, options: dict[str, Any]) -> None:
        # The LKJ density of the correlation is a potential, which PyMC leaves out: uniform here.
        design = design_of(family, **options)
        model = patient_level_model(design, UNIFORM_CORRELATION)
        names = ["beta", "therapist_effect"]
        names += [parameter.name for parameter in design.family.parameters]
        with model:
            variables = [model[name] for name in names]
            theirs = pm.draw(variables, draws=4000, random_seed=8)
        ours = drawn(design, UNIFORM_CORRELATION)
        for name, values in zip(names, theirs, strict=True):
            own = ours[name].values[0].reshape(MANY, -1)
            for k, column in enumerate(np.reshape(values, (4000, -1)).T):
                assert stats.ks_2samp(own[:, k], column).pvalue > LEAST_P / 10, (name, k)


class TestScores:
    def test_gaussian_scores_have_the_closed_variance(self) -> None:
        # Of patient i: x'Dx + z'E[S]z + E[residual SD^2], and E of a squared half-normal is its
        # scale's square; the correlation's expectation is zero.
        design, priors = design_of(), Priors()
        found = prior_predictive(design, priors, draws=MANY)
        standard = (found.scores - design.scale.offset) / design.scale.unit
        fixed = design.X**2 @ design.prior_sd(priors) ** 2
        moderator = design.X[:, design.coefficients.index("moderator")]
        therapist = priors.therapist_sd**2 + priors.therapist_slope_sd**2 * moderator**2
        expected = fixed + therapist + priors.residual_sd**2
        # The SE of a variance of heavy-tailed scores is some 2% at 20,000 draws.
        np.testing.assert_allclose(standard.var(axis=0), expected, rtol=0.08)
        np.testing.assert_allclose(
            standard.mean(axis=0), 0, atol=4.5 * np.sqrt(expected.max() / MANY)
        )

    def test_patients_of_a_therapist_share_the_effects(self) -> None:
        # Two patients' covariance is x'Dx~ and, of one therapist, z'E[S]z~ in addition.
        design = design_of()
        priors = Priors(therapist_sd=1.0)
        predictor = prior_predictor(Posterior(design, drawn(design, priors)))
        same = np.flatnonzero(design.therapist_index == design.therapist_index[0])[:2]
        other = int(np.flatnonzero(design.therapist_index != design.therapist_index[0])[0])
        D = np.diag(design.prior_sd(priors) ** 2)
        moderator = design.X[:, design.coefficients.index("moderator")]
        for a, b, shared in ((*same, 1.0), (same[0], other, 0.0)):
            expected = design.X[a] @ D @ design.X[b]
            expected += shared * (1.0 + priors.therapist_slope_sd**2 * moderator[a] * moderator[b])
            covariance = np.cov(predictor[:, a], predictor[:, b])
            se = np.sqrt((covariance[0, 0] * covariance[1, 1] + expected**2) / MANY)
            # Half-normal SDs make tails heavier than the normal ones of this standard error.
            assert abs(covariance[0, 1] - expected) < 6 * se

    @pytest.mark.parametrize("family", ["ordinal", "beta_binomial"])
    def test_bounded_scores_are_whole_and_in_range(self, family: str) -> None:
        scores = prior_predictive(design_of(family), Priors(), draws=300).scores
        low, high = LIMITS[family]
        assert scores.min() == low
        assert scores.max() == high  # wide enough to come that far
        assert np.equal(scores, np.round(scores)).all()

    def test_average_ordinal_scores_are_uniform(self) -> None:
        # With every slope and effect next to nothing, categories are Dirichlet(1): each 1 in 5.
        nothing = dict.fromkeys(
            ("baseline_slope", "arm", "moderator_slope", "interaction", "covariate_slope"), 1e-9
        ) | {"therapist_sd": 1e-9, "therapist_slope_sd": 1e-9}
        scores = prior_predictive(design_of("ordinal"), Priors(**nothing), draws=MANY).scores
        shares = np.array([(scores == k).mean() for k in range(1, 6)])
        # SD of a Beta(1, 4) share over 20,000 draws: 0.0012
        np.testing.assert_allclose(shares, 0.2, atol=5 * 0.0012)

    def test_the_same_seed_draws_the_same(self) -> None:
        design = design_of()
        first, second, other = (
            prior_predictive(design, Priors(), draws=50, seed=seed).scores for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(first, second)
        assert not np.array_equal(first, other)

    def test_of_many_patients_some_are_drawn(self) -> None:
        patients = example_patients(patients=1200, therapists=900)
        design = build_design(patients, ModelSpec("example"))
        found = prior_predictive(design, Priors(), draws=20)
        assert found.scores.shape == (20, MOST_PATIENTS)
        assert len(found.design.therapists) == found.design.therapist_index.max() + 1
        rows = {tuple(row) for row in design.X}
        assert all(tuple(row) in rows for row in found.design.X)

    def test_what_was_observed_plays_no_part(self) -> None:
        # Outcomes in another order have the same mean and SD: the same scores are drawn.
        patients = example_patients(patients=60, therapists=6)
        turned = patients.assign(outcome=("patient", patients["outcome"].values[::-1].copy()))
        first, second = (
            prior_predictive(build_design(each, ModelSpec("example")), Priors(), draws=50).scores
            for each in (patients, turned)
        )
        np.testing.assert_allclose(first, second, rtol=1e-10)


class TestLatentAlliance:
    def test_a_missing_alliance_is_that_of_its_own_model(self) -> None:
        trial = patients_of("impute")
        design = build_design(trial.data, trial.spec)
        draws = drawn(design)
        own = ("intercept", "baseline", "arm[1]")  # what predicts a missing alliance
        columns = [design.coefficients.index(name) for name in own]
        rows = draws["latent_patient"].values
        assert set(rows) == set(np.flatnonzero(design.moderator_missing))
        # Variance: 0.5^2 for each predictor, and the squares of both half-normal scales.
        expected = 0.25 * (design.X[np.ix_(rows, columns)] ** 2).sum(axis=1) + 0.25 + 1.0
        found = draws["moderator_latent"].values[0].var(axis=0)
        np.testing.assert_allclose(found, expected, rtol=0.08)

    def test_an_alliance_at_the_ceiling_lies_there_or_above(self) -> None:
        trial = patients_of("ceiling")
        design = build_design(trial.data, trial.spec)
        mean, sd = design.scaling.moderator
        values = drawn(design)["moderator_latent"].values
        assert np.isfinite(values).all()
        assert values.min() >= (trial.above - mean) / sd - 1e-9
        assert (values.max(axis=1) > 3).all()

    def test_a_rating_is_the_true_alliance_and_noise(self) -> None:
        # Given alliance's SD s and location m, the true one is normal around m + share (x - m),
        # with variance share (1 - reliability): all of it from the noise.
        trial = patients_of("reliability")
        design = build_design(trial.data, trial.spec)
        draws = drawn(design)
        residual = draws["moderator_residual_sd"].values[0]
        some = residual > 3.0  # where nearly all of a rating's variance is true
        rating = design.X[:, design.coefficients.index("moderator")]
        difference = draws["moderator_latent"].values[0][some] - rating
        assert difference.var() == pytest.approx(0.3, rel=0.15)

    @pytest.mark.parametrize("option", ["impute", "ceiling", "reliability"])
    def test_scores_follow_the_latent_alliance(self, option: str) -> None:
        trial = patients_of(option)
        design = build_design(trial.data, trial.spec)
        draws = drawn(design)
        latent = draws["latent_patient"].values
        X = design.X.copy()
        k = 7  # of the draws
        X[latent, design.coefficients.index("moderator")] = draws["moderator_latent"].values[0, k]
        arm = X[:, design.coefficients.index("arm[1]")]
        own = X[:, design.coefficients.index("moderator")] * arm
        X[:, design.coefficients.index("interaction[1]")] = own
        expected = X @ draws["beta"].values[0, k]
        expected += draws["therapist_effect"].values[0, k, design.therapist_index, 0]
        np.testing.assert_allclose(
            prior_predictor(Posterior(design, draws))[k], expected, rtol=1e-10
        )

    def test_within_and_between_shift_the_therapists(self) -> None:
        spec = ModelSpec("example", moderator=ModeratorSpec(structure="within_between"))
        design = build_design(example_patients(patients=60, therapists=6), spec)
        draws = drawn(design)
        moderator = design.coefficients.index("moderator")
        k, index = 11, design.therapist_index
        beta = draws["beta"].values[0, k]
        effect = draws["therapist_effect"].values[0, k][index]
        means = draws["moderator_therapist_mean"].values[0, k][index]
        X = design.X.copy()
        X[:, moderator] -= means
        for name in (name for name in design.coefficients if name.startswith("interaction")):
            arm = X[:, design.coefficients.index(name.replace("interaction", "arm"))]
            X[:, design.coefficients.index(name)] = X[:, moderator] * arm
        expected = X @ beta + effect[:, 0] + effect[:, 1] * X[:, moderator]
        expected += draws["moderator_slope_between"].values[0, k] * means
        np.testing.assert_allclose(
            prior_predictor(Posterior(design, draws))[k], expected, rtol=1e-10
        )


class TestEffects:
    def test_linear_effects_are_coefficients_over_what_is_observed(self) -> None:
        patients = example_patients(patients=60, therapists=6)
        design = build_design(patients, ModelSpec("example"))
        draws = drawn(design)
        found = {(e.quantity, e.level): e for e in prior_effects(design, design, draws)}
        slope = found["moderator_slope", "average"]
        ratings, (_, sd) = patients["moderator"].values, design.scaling.moderator
        assert (slope.start, slope.end) == pytest.approx((ratings.min(), ratings.max()))
        beta = draws["beta"].sel(coefficient="moderator").values[0]
        span = np.ptp(ratings) / sd
        np.testing.assert_allclose(slope.change, design.scaling.outcome[1] * span * beta)
        np.testing.assert_allclose(slope.standard, 2 * beta)
        # A contrast of two arms has the prior SD scale * sqrt(2).
        contrast = found["arm_contrast", "arm A-arm C"]
        assert contrast.standard.std() == pytest.approx(0.5 * np.sqrt(2), rel=0.03)
        interaction = found["interaction", "arm A-arm C"]
        assert interaction.standard.std() == pytest.approx(2 * 0.25 * np.sqrt(2), rel=0.03)
        assert found["baseline_slope", ""].standard.std() == pytest.approx(2.0, rel=0.03)
        assert ("covariate_slope", "age") in found

    def test_bounded_effects_stay_on_the_scale(self) -> None:
        design = design_of("ordinal")
        priors = Priors(moderator_slope=20.0)
        draws = prior_draws(design, priors, draws=200, generator=np.random.default_rng(1))
        found = {(e.quantity, e.level): e for e in prior_effects(design, design, draws)}
        size = np.abs(found["moderator_slope", "average"].change)
        assert size.max() <= 4  # of 1 to 5
        assert size.max() > 3

    def test_missing_ratings_are_not_observed_values(self) -> None:
        patients = example_patients(patients=60, therapists=6)
        rated = patients["moderator"].values.copy()
        spec = ModelSpec("example", moderator=ModeratorSpec(missing="impute"))
        rated[3] = np.nan
        design = build_design(patients.assign(moderator=("patient", rated)), spec)
        # A missing rating stands as zero, which is the lowest value of all others here.
        lifted = replace(design, X=design.X + 9.0 * (np.arange(60) != 3)[:, None])
        draws = prior_draws(design, Priors(), draws=5, generator=np.random.default_rng(1))
        slope = next(
            e for e in prior_effects(lifted, design, draws) if e.quantity == "moderator_slope"
        )
        assert slope.start > design.scaling.moderator[0]
