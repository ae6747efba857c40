"""Arms along the alliance: against the linear formula, and against loops over patients."""

from __future__ import annotations

import numpy as np
import pytest
from effect_fits import PAIRS, expected, fit_of, looped
from numpy.typing import NDArray
from prediction_examples import posterior_of

from alliance.data_prep.errors import InputError
from alliance.inference.answers.effects import (
    ArmCurves,
    Contrast,
    arm_curves,
    find_contrasts,
    value_grid,
)
from alliance.inference.draws.datatree import draws_of
from alliance.inference.estimands.estimands import linear_estimands
from alliance.inference.posterior import Posterior
from alliance.inference.ranges import require_on_scale
from alliance.inference.runs.fit import Fit
from alliance.inference.scores.questions import NODES
from alliance.inference.scores.therapist_parts import (
    NEW,
    TherapistChoice,
    TherapistPart,
    therapist_part,
)
from alliance.models.spec import ModeratorSpec

Array = NDArray[np.float64]

VALUES = np.array([60.0, 84.5, 100.0])
DRAWS = 8  # of `therapist_posterior`


def curves(fit: Fit, outcome: str, part: TherapistPart | None = None) -> ArmCurves:
    return arm_curves(fit[outcome], VALUES, part)


@pytest.mark.parametrize("interaction", [False, True])
@pytest.mark.parametrize("family", ["gaussian", "student_t"])
def test_a_linear_link_gives_the_linear_formula(family: str, interaction: bool) -> None:
    """Contrast at the mean plus interaction times the distance from it, and the level likewise."""
    fit = fit_of(family=family, interaction=interaction)
    design, draws = fit.design("function"), draws_of(fit.trees["function"])
    linear = linear_estimands(design)
    beta = Posterior(design, draws).beta
    by_label = dict(
        zip(linear.labels, linear.matrix @ beta.T + linear.offset[:, None], strict=True)
    )
    distance = VALUES - design.scaling.moderator[0]
    found = curves(fit, "function")
    for which in find_contrasts(design.arms):
        formula = by_label["arm_contrast", which.level][:, None]
        if interaction:
            formula = formula + by_label["interaction", which.level][:, None] * distance
        np.testing.assert_allclose(
            which.of(found.expected), np.broadcast_to(formula, (DRAWS, 3)), rtol=1e-10, atol=1e-10
        )
    level = by_label["intercept", ""][:, None]
    level = level + by_label["moderator_slope", "average"][:, None] * distance
    np.testing.assert_allclose(found.expected.mean(axis=1), level, rtol=1e-10)


@pytest.mark.parametrize(("outcome", "family"), PAIRS)
@pytest.mark.parametrize("structure", ["total", "within_between"])
def test_curves_are_those_of_a_loop_over_patients(
    outcome: str, family: str, structure: str
) -> None:
    fit = fit_of(outcome, family=family, moderator=ModeratorSpec(structure=structure))
    found = curves(fit, outcome).expected
    for number, arm, k in ((0, 0, 0), (3, 1, 1), (7, 2, 2)):
        loop = looped(fit, outcome, number, arm, float(VALUES[k]), expected)
        assert found[number, arm, k] == pytest.approx(loop, rel=1e-10)


@pytest.mark.parametrize(("outcome", "family"), PAIRS)
def test_a_known_therapist_brings_their_effects(outcome: str, family: str) -> None:
    fit = fit_of(
        outcome,
        family=family,
        moderator=ModeratorSpec(structure="within_between"),
        therapist_by_arm=True,
    )
    design, draws = fit.design(outcome), draws_of(fit.trees[outcome])
    name = design.therapists[2]
    generator = np.random.default_rng(0)
    part = therapist_part(Posterior(design, draws), TherapistChoice.known(name), 1, generator)
    found = curves(fit, outcome, part).expected
    for number, arm, k in ((1, 0, 2), (6, 2, 0)):
        loop = looped(fit, outcome, number, arm, float(VALUES[k]), expected, name)
        assert found[number, arm, k] == pytest.approx(loop, rel=1e-10)


def test_a_new_therapist_adds_the_variance_of_therapists() -> None:
    """With every parameter fixed, all variance is the therapists', and known in closed form."""
    sd, slope_sd, correlation, total = 0.4, 0.2, -0.5, 40_000
    parameters = {
        "beta": {"intercept": 0.2},
        "residual_sd": 1.0,
        "therapist_sd": sd,
        "therapist_slope_sd": slope_sd,
        "therapist_correlation": correlation,
    }
    fit = fit_of(posterior=lambda design: posterior_of(design, 1, total, parameters))
    design, draws = fit.design("function"), draws_of(fit.trees["function"])
    part = therapist_part(Posterior(design, draws), NEW, 1, np.random.default_rng(1))
    found = curves(fit, "function", part)
    z = (VALUES - design.scaling.moderator[0]) / design.scaling.moderator[1]
    variance = sd**2 + 2 * correlation * sd * slope_sd * z + slope_sd**2 * z**2
    # The relative standard error of a variance is sqrt(2 / 40,000), or 0.7%; four of them
    np.testing.assert_allclose(
        found.expected[:, 0].var(axis=0), design.scaling.outcome[1] ** 2 * variance, rtol=0.03
    )
    assert np.ptp(variance) > 0.1
    # One therapist treats in all arms: without arm effects between them contrasts stay fixed.
    np.testing.assert_allclose(Contrast("", 1, 0).of(found.expected), 0, atol=1e-10)


def test_a_latent_alliance_leaves_the_curve_as_it_is() -> None:
    """Everybody is imagined with the same alliance: their own plays no part."""
    fit = fit_of("gpe", family="ordinal", moderator=ModeratorSpec(reliability=0.7))
    draws = draws_of(fit.trees["gpe"])
    assert "moderator_latent" in draws
    found = curves(fit, "gpe").expected
    loop = looped(fit, "gpe", 2, 1, float(VALUES[0]), expected)
    assert found[2, 1, 0] == pytest.approx(loop, rel=1e-10)


@pytest.mark.parametrize("family", ["gaussian", "beta_binomial"])
def test_draws_taken_in_blocks_are_draws_taken_together(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = fit_of(family=family)
    together = curves(fit, "function").expected
    monkeypatch.setattr("alliance.inference.draws.summaries.BLOCK_NUMBERS", 3000)
    np.testing.assert_allclose(curves(fit, "function").expected, together, rtol=1e-13)


@pytest.mark.parametrize(("outcome", "family"), PAIRS)
def test_many_values_cost_no_exactness(outcome: str, family: str) -> None:
    """A fine grid is interpolated: at the values of a coarse one it says what that says."""
    fit = fit_of(outcome, family=family)
    fine = np.linspace(54.0, 112.0, 59)
    assert 3 * len(fine) > NODES >= 3 * 3
    interpolated = arm_curves(fit[outcome], fine).expected
    assert np.ptp(interpolated, axis=2).max() > 1  # no flat curves
    for k in range(0, 57, 3):
        direct = arm_curves(fit[outcome], fine[k : k + 3]).expected
        # Points of the outcome, whose scales are 10 and 27 points long
        np.testing.assert_allclose(interpolated[:, :, k : k + 3], direct, atol=1e-8)


def test_the_best_arm_is_the_highest_or_the_lowest_as_the_outcome_has_it() -> None:
    # Three draws of two arms at two values; the second arm is higher in one draw, then in two.
    expected_scores = np.array([[[1.0, 1.0], [2.0, 2.0]], [[1, 1], [0, 3]], [[1, 1], [0.5, 0]]])
    high = ArmCurves(("A", "B"), 1, np.array([0.0, 1.0]), expected_scores)
    low = ArmCurves(("A", "B"), -1, np.array([0.0, 1.0]), expected_scores)
    np.testing.assert_allclose(high.best(), [[2 / 3, 1 / 3], [1 / 3, 2 / 3]])
    np.testing.assert_allclose(low.best(), [[1 / 3, 2 / 3], [2 / 3, 1 / 3]])
    np.testing.assert_allclose(Contrast("B-A", 1, 0).of(high.expected)[:, 1], [1, 2, -1])


def test_arms_share_the_probability_of_being_best() -> None:
    found = curves(fit_of("gpe", family="ordinal"), "gpe")
    np.testing.assert_allclose(found.best().sum(axis=0), 1)
    winners = found.expected.argmax(axis=1)
    for arm in range(3):
        np.testing.assert_allclose(found.best()[arm], (winners == arm).mean(axis=0))


def test_a_grid_holds_the_ends_and_what_is_named() -> None:
    np.testing.assert_allclose(value_grid((0.0, 10.0), 3), [0, 5, 10])
    np.testing.assert_allclose(value_grid((0.0, 10.0), 2, [4.0, 10.0]), [0, 4, 10])
    stretched = value_grid((0.0, 10.0), 3, [-5.0, 12.0])
    np.testing.assert_allclose(stretched, [-5, 0, 3.5, 10, 12])


@pytest.mark.parametrize("points", [0, 1, -3, 1_000_000])
def test_a_grid_without_a_curve_is_refused(points: int) -> None:
    with pytest.raises(InputError, match=f"{points} values of its grid.*from 2 to 1001"):
        value_grid((0.0, 10.0), points)


def test_contrasts_are_found_in_either_order() -> None:
    arms = ("GE", "MCE", "SMT")
    usual = [contrast.level for contrast in find_contrasts(arms)]
    assert usual == ["MCE-GE", "SMT-GE", "SMT-MCE"]
    assert find_contrasts(arms, ["GE-SMT", "MCE-GE", "GE-SMT"]) == [
        Contrast("GE-SMT", 0, 2),
        Contrast("MCE-GE", 1, 0),
    ]
    with pytest.raises(InputError, match=r"no contrast 'MCE-SMTT'. Did you mean 'MCE-SMT'"):
        find_contrasts(arms, ["MCE-SMTT"])
    with pytest.raises(InputError, match=r"Valid names: 'MCE-GE', .*'GE-MCE'"):
        find_contrasts(arms, ["all"])


def test_codes_with_a_hyphen_are_no_riddle() -> None:
    assert find_contrasts(("A-B", "C"), ["A-B-C"]) == [Contrast("A-B-C", 0, 1)]


@pytest.mark.parametrize("value", [15.9, 112.5, float("nan")])
def test_what_is_not_on_the_scale_is_refused(value: float) -> None:
    require_on_scale([16, 112], (16, 112), "Alliance")
    with pytest.raises(InputError, match=r"Alliance: there is no .* on its scale.*16 to 112"):
        require_on_scale([80, value], (16, 112), "Alliance")
