"""The linear predictor of patients asked about: against the model written out term by term."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from example_families import family_design
from prediction_examples import (
    one_predictor,
    posterior_of,
    some_rows,
    therapist_posterior,
)
from scipy import special, stats

from alliance.data_prep.errors import InputError
from alliance.inference.draws.datatree import flat
from alliance.inference.estimands.compared_at import average_response
from alliance.inference.posterior import Posterior, Rows
from alliance.inference.scores.questions import expected_scores, linear_predictor, link_scale
from alliance.inference.scores.therapist_parts import (
    AVERAGE,
    NEW,
    TherapistChoice,
    therapist_factor,
    therapist_part,
    therapist_variance,
)
from alliance.models.families.families import FAMILIES

CHAINS, DRAWS = 2, 4


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("option", ["total", "within_between"])
@pytest.mark.parametrize("therapist_by_arm", [False, True])
def test_the_predictor_is_the_model_term_by_term(family, option, therapist_by_arm):
    design = family_design(family, option, therapist_by_arm=therapist_by_arm)
    draws = therapist_posterior(design)
    rows = some_rows(design)
    random = np.random.default_rng(1)
    ids = tuple(design.therapists[k] for k in (2, 0, 2, 1, 5))
    for choice, named in ((AVERAGE, [None] * 5), (TherapistChoice.known(*ids), ids)):
        part = therapist_part(Posterior(design, draws), choice, len(rows), random)
        found = linear_predictor(Posterior(design, draws), rows, part).reshape(
            CHAINS, DRAWS, len(rows)
        )
        for chain, draw, row in np.ndindex(found.shape):
            one = draws.isel(chain=chain, draw=draw)
            expected = one_predictor(design, one, rows, row, named[row])
            assert found[chain, draw, row] == pytest.approx(expected, abs=1e-12)


def test_the_analysed_patients_have_their_own_rows_of_the_design():
    design = family_design("gaussian")
    scaling, column = design.scaling, design.coefficients.index
    arms = design.X[:, [column("arm[1]"), column("arm[2]")]]
    from alliance.models.design.encoding import sum_to_zero_basis

    arm_index = np.argmax(arms @ sum_to_zero_basis(3).T, axis=1)
    covariates = [column(f"covariate[{name}]") for name in design.covariates]
    rows = Rows(
        arm_index,
        scaling.moderator[0] + scaling.moderator[1] * design.X[:, column("moderator")],
        scaling.baseline[0] + scaling.baseline[1] * design.X[:, column("baseline")],
        np.array([mean for mean, _ in scaling.covariates])
        + design.X[:, covariates] * [sd for _, sd in scaling.covariates],
    )
    np.testing.assert_allclose(rows.matrix(design), design.X, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_expected_scores_come_on_the_outcomes_own_scale(family, monkeypatch):
    monkeypatch.setattr("alliance.inference.draws.summaries.BLOCK_NUMBERS", 40)  # several blocks
    design = family_design(family)
    draws = therapist_posterior(design)
    rows = some_rows(design)
    predictor = linear_predictor(Posterior(design, draws), rows)
    found = expected_scores(Posterior(design, draws), link_scale(design, predictor))
    scale = design.scale
    eta = scale.link_location + scale.link_unit * predictor
    if family in ("gaussian", "student_t"):
        expected = design.scaling.outcome[0] + design.scaling.outcome[1] * predictor
    elif family == "ordinal":
        above = special.expit(eta[:, :, None] - flat(draws, "cutpoint")[:, None, :])
        expected = 1 + above.sum(axis=-1)  # the lowest category of LIMITS is 1
    elif family == "binary":
        expected = special.expit(eta)
    elif family == "count":
        expected = np.exp(eta)
    else:
        expected = 3 + 27 * special.expit(eta)  # LIMITS are 3 to 30
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("family", ["gaussian", "ordinal"])
def test_averages_over_the_patients_are_those_of_the_reported_quantities(family):
    design = family_design(family)
    draws = therapist_posterior(design)
    response = average_response(Posterior(design, draws))
    column = design.coefficients.index
    scaling = design.scaling
    covariates = [column(f"covariate[{name}]") for name in design.covariates]
    patients = Rows(
        np.zeros(len(design.y), dtype=np.int64),
        scaling.moderator[0] + scaling.moderator[1] * design.X[:, column("moderator")],
        scaling.baseline[0] + scaling.baseline[1] * design.X[:, column("baseline")],
        np.array([mean for mean, _ in scaling.covariates])
        + design.X[:, covariates] * [sd for _, sd in scaling.covariates],
    )
    for arm in range(3):
        predictor = linear_predictor(Posterior(design, draws), patients.in_arm(arm))
        mean = expected_scores(Posterior(design, draws), link_scale(design, predictor)).mean(axis=1)
        np.testing.assert_allclose(mean, response["expected"][:, arm], rtol=1e-12)


def test_new_therapists_have_the_covariance_of_the_population():
    design = family_design("gaussian", "within_between", therapist_by_arm=True)
    sd, slope, correlation, arm, between, within, spread = 0.5, 0.3, -0.6, 0.2, 0.7, 0.2, 0.4
    centre = 0.3
    draws = posterior_of(
        design,
        2,
        20_000,
        {
            "beta": {"moderator": within},
            "therapist_sd": sd,
            "therapist_slope_sd": slope,
            "therapist_correlation": correlation,
            "therapist_arm_sd": arm,
            "moderator_slope_between": between,
            "moderator_therapist_sd": spread,
            # Of intercept, baseline, arms and covariates: a mean of the trial's mixture of arms
            "moderator_coefficient": [centre, 0.5, 0.0, 0.0, -0.4, 0.6],
        },
    )
    part = therapist_part(Posterior(design, draws), NEW, 1, np.random.default_rng(2))
    assert part is not None
    drawn = np.column_stack([part.effect[:, 0], part.mean])
    expected = np.diag([sd**2, slope**2, arm**2, arm**2, spread**2])
    expected[0, 1] = expected[1, 0] = correlation * sd * slope
    # An entry of the covariance of n draws has an error of sqrt((s_ii s_jj + s_ij^2) / n).
    error = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / 40_000)
    assert (np.abs(np.cov(drawn.T) - expected) < 4 * error).all()
    np.testing.assert_allclose(
        therapist_factor(Posterior(design, draws))[0]
        @ therapist_factor(Posterior(design, draws))[0].T,
        expected[:4, :4],
        atol=1e-12,
    )
    # Variance of the predictor, at two SDs above the mean alliance, from the covariance's entries
    mean, unit = design.scaling.moderator
    row = Rows(np.array([0]), np.array([mean + 2 * unit]), np.array([10.0]), np.zeros((1, 2)))
    # ... and what the slope multiplies, the distance to the therapist's own mean, varies as well
    z = np.array([1, 2 - centre, *row.matrix(design)[0, 2:4], between - within])
    exact = z @ expected @ z + slope**2 * spread**2
    variance = therapist_variance(Posterior(design, draws), row)
    np.testing.assert_allclose(variance[:, 0], exact, rtol=1e-12)
    predictor = linear_predictor(Posterior(design, draws), row, part)[:, 0]
    # SD of a sample variance of nearly normal draws, whose kurtosis is at most some 3.5
    assert abs(predictor.var(ddof=1) / exact - 1) < 4 * np.sqrt(2.5 / 40_000)
    shift = (between - within) * centre
    error = np.sqrt(exact / 40_000)
    average = linear_predictor(Posterior(design, draws), row)[:, 0]
    assert abs((predictor - average).mean() - shift) < 4 * error


def test_a_run_without_the_correlation_has_independent_effects():
    design = family_design("gaussian")
    draws = posterior_of(design, 1, 3, {"therapist_sd": 0.5, "therapist_slope_sd": 0.2, "beta": {}})
    np.testing.assert_allclose(therapist_factor(Posterior(design, draws))[1], np.diag([0.5, 0.2]))


def test_rows_of_one_new_therapist_share_its_draw_and_others_do_not():
    design = family_design("gaussian")
    draws = therapist_posterior(design, draws=500)
    one = some_rows(design, 1)
    rows = Rows(
        *(
            np.repeat(part, 3, axis=0)
            for part in (one.arm_index, one.moderator, one.baseline, one.covariates)
        )
    )
    choice = TherapistChoice("new", ("first", "second", "first"))
    part = therapist_part(Posterior(design, draws), choice, 3, np.random.default_rng(4))
    found = linear_predictor(Posterior(design, draws), rows, part)
    np.testing.assert_array_equal(found[:, 0], found[:, 2])
    fixed = linear_predictor(Posterior(design, draws), rows)
    assert part is not None
    deviation = found - fixed
    # Independent: a correlation of 1,000 draws lies within 4 / sqrt(1,000) of zero.
    assert abs(stats.spearmanr(deviation[:, 0], deviation[:, 1])[0]) < 4 / np.sqrt(1000)
    together = therapist_part(Posterior(design, draws), NEW, 3, np.random.default_rng(4))
    shared = linear_predictor(Posterior(design, draws), rows, together)
    np.testing.assert_array_equal(shared[:, 0], shared[:, 1])


def test_a_part_of_the_rows_has_its_own_therapists():
    design = family_design("gaussian")
    draws = therapist_posterior(design)
    rows = some_rows(design)
    choice = TherapistChoice("new", ("a", "b", "a", "c", "b"))
    part = therapist_part(Posterior(design, draws), choice, 5, np.random.default_rng(4))
    assert part is not None
    whole = linear_predictor(Posterior(design, draws), rows, part)
    some = slice(2, 5)
    found = linear_predictor(Posterior(design, draws), rows.chosen(some), part.block(some))
    np.testing.assert_allclose(found, whole[:, some], rtol=1e-12)


def test_without_therapist_effects_a_known_therapist_is_as_any_other():
    design = family_design("gaussian", therapist="none")
    draws = therapist_posterior(design)
    rows = some_rows(design)
    random = np.random.default_rng(1)
    average = linear_predictor(Posterior(design, draws), rows)
    for choice in (NEW, TherapistChoice.known(design.therapists[0])):
        part = therapist_part(Posterior(design, draws), choice, len(rows), random)
        np.testing.assert_array_equal(
            linear_predictor(Posterior(design, draws), rows, part), average
        )


def test_an_outcome_without_baseline_ignores_one_that_is_given():
    design = family_design("gaussian")
    design = replace(design, encoding=replace(design.encoding, has_baseline=False))
    draws = therapist_posterior(design)
    rows = some_rows(design)
    with_one = replace(rows, baseline=np.full(len(rows), 7.0))
    np.testing.assert_array_equal(
        linear_predictor(Posterior(design, draws), with_one),
        linear_predictor(Posterior(design, draws), rows),
    )


def test_an_unknown_therapist_is_refused_with_the_ids_there_are():
    design = family_design("gaussian")
    draws = therapist_posterior(design)
    with pytest.raises(InputError, match="no therapist 'Q9'") as refused:
        therapist_part(
            Posterior(design, draws), TherapistChoice.known("Q9"), 1, np.random.default_rng(1)
        )
    assert all(repr(name) in refused.value.remedy for name in design.therapists)
