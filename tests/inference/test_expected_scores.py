"""Expected scores averaged over the trial's patients: against the linear map, and against loops."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import xarray as xr
from example_families import OPTIONS, family_design, made_posterior
from numpy.typing import NDArray
from scipy import stats

from alliance.inference.estimands.compared_at import average_response, response_estimands
from alliance.inference.estimands.estimands import estimand_draws, linear_estimands
from alliance.inference.posterior import Posterior
from alliance.models.design.design import Design
from alliance.models.design.encoding import sum_to_zero_basis
from alliance.models.families.families import FAMILIES

Array = NDArray[np.float64]
CURVED = ("ordinal", "beta_binomial")
STEP = 1e-5


def one_draw(draws: xr.Dataset, chain: int, draw: int) -> xr.Dataset:
    return draws.isel(chain=chain, draw=draw)


def pmf(design: Design, draw: xr.Dataset, eta: float) -> Array:
    """Probability of every score at one patient, from scipy."""
    if design.family.name == "ordinal":
        ends = [-np.inf, *draw["cutpoint"].values, np.inf]
        return np.diff(stats.logistic.cdf(np.array(ends) - eta))
    share, precision = stats.logistic.cdf(eta), float(draw["precision"])
    scores = np.arange(design.scale.top + 1)
    return stats.betabinom.pmf(scores, design.scale.top, share * precision, (1 - share) * precision)


def moderator(design: Design, draw: xr.Dataset) -> Array:
    values = design.X[:, design.coefficients.index("moderator")].copy()
    if "moderator_latent" in draw:
        for position, value in zip(
            draw["latent_patient"].values, draw["moderator_latent"].values, strict=True
        ):
            values[position] = value
    return values


def predictor(
    design: Design, draw: xr.Dataset, patient: int, arm: int, shift: dict[str, float] | None = None
) -> float:
    """Linear predictor of a patient in an arm, with an average therapist, term by term.

    A shift is added to a column before its coefficients apply.
    """
    shift = {} if shift is None else shift
    basis = sum_to_zero_basis(len(design.arms))
    alliance = moderator(design, draw)[patient] + shift.get("moderator", 0.0)
    total = 0.0
    for name, beta in zip(draw["coefficient"].values, draw["beta"].values, strict=True):
        kind, *rest = str(name).rstrip("]").split("[")
        if kind == "arm":
            value = basis[arm, int(rest[0]) - 1]
        elif kind == "interaction":
            value = basis[arm, int(rest[0]) - 1] * alliance
        elif kind == "moderator":
            value = alliance
        else:
            value = design.X[patient, design.coefficients.index(str(name))]
            value += shift.get(str(name), 0.0)
        total += beta * value
    return design.scale.link_location + design.scale.link_unit * total


def mean_score(
    design: Design, draw: xr.Dataset, arm: int, shift: dict[str, float] | None = None
) -> float:
    """Expected score on the outcome's own scale, averaged over the patients."""
    scores = design.scale.offset + design.scale.unit * np.arange(design.scale.top + 1)
    return float(
        np.mean(
            [
                pmf(design, draw, predictor(design, draw, patient, arm, shift)) @ scores
                for patient in range(len(design.y))
            ]
        )
    )


def derivative(design: Design, draw: xr.Dataset, arm: int, column: str, unit: float) -> float:
    """Change of the mean expected score for one unit of a column, by finite differences."""
    above, below = (mean_score(design, draw, arm, {column: sign * STEP}) for sign in (1, -1))
    return (above - below) / (2 * STEP) / unit


def by_loops(design: Design, draw: xr.Dataset) -> dict[tuple[str, str], float]:
    """Every quantity that is reported of fixed effects, patient by patient."""
    arms, scaling = design.arms, design.scaling
    mean = [mean_score(design, draw, k) for k in range(len(arms))]
    slope = [
        derivative(design, draw, k, "moderator", scaling.moderator[1]) for k in range(len(arms))
    ]
    found = {("intercept", ""): float(np.mean(mean))}
    found["moderator_slope", "average"] = float(np.mean(slope))
    for k, arm in enumerate(arms):
        found["moderator_slope", arm] = slope[k]
    for earlier, later in combinations(range(len(arms)), 2):
        level = f"{arms[later]}-{arms[earlier]}"
        found["arm_contrast", level] = mean[later] - mean[earlier]
        found["interaction", level] = slope[later] - slope[earlier]
    others = {("baseline_slope", ""): ("baseline", scaling.baseline[1])}
    for name, (_, unit) in zip(design.covariates, scaling.covariates, strict=True):
        others["covariate_slope", name] = (f"covariate[{name}]", unit)
    for label, (column, unit) in others.items():
        each = [derivative(design, draw, k, column, unit) for k in range(len(arms))]
        found[label] = float(np.mean(each))
    return found


@pytest.mark.parametrize("option", ["total", "all"])
@pytest.mark.parametrize("family", CURVED)
def test_averages_over_patients_are_those_of_a_loop(family: str, option: str) -> None:
    """Levels, contrasts and slopes; with a latent alliance, each draw has its own."""
    design = family_design(family, option, patients=16)
    draws = made_posterior(design)
    found = estimand_draws(Posterior(design, draws))
    labels = list(zip(found["quantity"].values, found["level"].values, strict=True))
    for chain, draw in ((0, 0), (1, 3)):
        values = dict(zip(labels, found.isel(chain=chain, draw=draw).values, strict=True))
        expected = by_loops(design, one_draw(draws, chain, draw))
        assert expected.keys() <= values.keys()
        for label, value in expected.items():
            assert values[label] == pytest.approx(value, rel=1e-5, abs=1e-8), label


@pytest.mark.parametrize("family", CURVED)
def test_average_slopes_are_weighted_by_the_curve_of_each_arm(family: str) -> None:
    """With one slope for all arms on the link's scale, arms still differ on the outcome's."""
    design = family_design(family, interaction=False)
    draws = made_posterior(design)
    response = average_response(Posterior(design, draws))
    found = response_estimands(Posterior(design, draws), response, design.scaling.moderator[1])
    beta = Posterior(design, draws).coefficient("moderator") / design.scaling.moderator[1]
    np.testing.assert_allclose(
        found["moderator_slope", "average"], response["slope"].mean(axis=1) * beta
    )
    assert ("interaction", "arm A-arm C") not in found
    assert np.ptp(response["slope"], axis=1).min() > 0


@pytest.mark.parametrize("family", CURVED)
def test_variance_is_the_mean_over_patients_and_arms(family: str) -> None:
    design = family_design(family, patients=16)
    draws = made_posterior(design)
    draw = one_draw(draws, 0, 1)
    scores = np.arange(design.scale.top + 1)
    variances = []
    for arm in range(len(design.arms)):
        for patient in range(len(design.y)):
            probabilities = pmf(design, draw, predictor(design, draw, patient, arm))
            mean = probabilities @ scores
            variances.append(probabilities @ (scores - mean) ** 2)
    assert average_response(Posterior(design, draws))["variance"].mean(axis=1)[1] == pytest.approx(
        np.mean(variances)
    )


@pytest.mark.parametrize("per_sd", [False, True])
@pytest.mark.parametrize("interaction", [False, True])
@pytest.mark.parametrize("family", ["gaussian", "student_t"])
def test_a_linear_link_gives_back_the_coefficients(
    family: str, interaction: bool, per_sd: bool
) -> None:
    """Patient by patient or by the linear map: the same numbers, so that families compare."""
    design = family_design(family, interaction=interaction)
    draws = made_posterior(design)
    unit = 1.0 if per_sd else design.scaling.moderator[1]
    curved = response_estimands(
        Posterior(design, draws), average_response(Posterior(design, draws)), unit
    )
    linear = linear_estimands(design, per_sd=per_sd)
    beta = Posterior(design, draws).beta
    straight = linear.matrix @ beta.T + linear.offset[:, None]
    assert set(curved) == set(linear.labels)
    for label, values in zip(linear.labels, straight, strict=True):
        np.testing.assert_allclose(curved[label], values, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_contrasts_of_arms_close_their_triangles(family: str) -> None:
    """C to A, A to B and C to B: one minus another is the third, for levels and for slopes."""
    design = family_design(family)
    found = estimand_draws(Posterior(design, made_posterior(design)))
    for quantity in ("arm_contrast", "interaction"):
        chosen = found.isel(estimand=found["quantity"].values == quantity)
        by_level = dict(
            zip(chosen["level"].values, chosen.transpose("estimand", ...).values, strict=True)
        )
        np.testing.assert_allclose(
            by_level["arm B-arm C"],
            by_level["arm B-arm A"] + by_level["arm A-arm C"],
            rtol=1e-10,
            atol=1e-12,
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_arms_in_another_order_turn_their_contrasts_round(family: str) -> None:
    """The same predictor for every patient, with the first two arms changed about."""
    design = family_design(family, interaction=False)
    draws = made_posterior(design)
    basis = sum_to_zero_basis(3)
    names = list(draws["coefficient"].values)
    columns = [names.index("arm[1]"), names.index("arm[2]")]
    turned = draws.copy(deep=True)
    effects = draws["beta"].values[..., columns] @ basis.T
    turned["beta"].values[..., columns] = effects[..., [1, 0, 2]] @ basis
    one, other = estimand_draws(Posterior(design, draws)), estimand_draws(Posterior(design, turned))
    labels = list(zip(one["quantity"].values, one["level"].values, strict=True))
    swapped = labels.index(("arm_contrast", "arm A-arm C"))
    np.testing.assert_allclose(
        other.isel(estimand=swapped), -one.isel(estimand=swapped), rtol=1e-10, atol=1e-12
    )
    level = labels.index(("intercept", ""))
    np.testing.assert_allclose(other.isel(estimand=level), one.isel(estimand=level), rtol=1e-10)


@pytest.mark.parametrize("option", OPTIONS)
def test_draws_taken_in_blocks_are_draws_taken_together(
    option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    design = family_design("ordinal", option)
    draws = made_posterior(design, draws=7)
    together = average_response(Posterior(design, draws))
    monkeypatch.setattr("alliance.inference.draws.summaries.BLOCK_NUMBERS", 3 * len(design.y) * 4)
    in_blocks = average_response(Posterior(design, draws))
    for name in ("expected", "slope", "variance"):
        np.testing.assert_allclose(in_blocks[name], together[name], rtol=1e-13)


@pytest.mark.parametrize("family", CURVED)
def test_expected_scores_stay_within_the_outcomes_range(family: str) -> None:
    design = family_design(family)
    draws = made_posterior(design)
    draws["beta"] = 20 * draws["beta"]
    expected = average_response(Posterior(design, draws))["expected"]
    low, high = design.scale.offset, design.scale.offset + design.scale.unit * design.scale.top
    assert (low <= expected).all()
    assert (expected <= high).all()
    assert np.ptp(expected) > 0


def test_spreads_between_therapists_pass_through_the_slope_of_the_curve() -> None:
    """To first order, at every draw."""
    design = family_design("beta_binomial", therapist_by_arm=True)
    draws = made_posterior(design)
    response = average_response(Posterior(design, draws))
    found = estimand_draws(Posterior(design, draws))
    values = dict(
        zip(found["quantity"].values, found.stack(d=("chain", "draw")).values, strict=False)
    )
    slope = response["slope"].mean(axis=1)
    between = slope * draws["therapist_sd"].values.ravel()
    np.testing.assert_allclose(values["therapist_sd"], between)
    np.testing.assert_allclose(
        values["therapist_slope_sd"],
        slope * draws["therapist_slope_sd"].values.ravel() / design.scaling.moderator[1],
    )
    np.testing.assert_allclose(
        values["therapist_arm_sd"], slope * draws["therapist_arm_sd"].values.ravel()
    )
    np.testing.assert_allclose(
        values["therapist_icc"], between**2 / (between**2 + response["variance"].mean(axis=1))
    )
    np.testing.assert_allclose(values["residual_sd"], np.sqrt(response["variance"].mean(axis=1)))
