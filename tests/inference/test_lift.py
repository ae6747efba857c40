"""A lifted alliance: against closed form and loops, with its limits counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from effect_fits import PAIRS, draw_of, fit_of, mean_of
from prediction_examples import one_predictor, therapist_posterior

from alliance.data_prep.errors import InputError
from alliance.inference.answers.decisions import decisions, raised_alliance
from alliance.inference.draws.datatree import draws_of, flat
from alliance.inference.posterior import Posterior
from alliance.inference.runs.fit import Fit
from alliance.inference.scores.questions import arm_slopes
from alliance.inference.scores.thresholds import Thresholds
from alliance.models.design.design import Design
from alliance.models.spec import ModeratorSpec


def rises(fit: Fit, points: float, limit: float) -> np.ndarray:
    """What each patient gains; those beyond the limit stay where they are."""
    before = fit["function"].rows.moderator
    return np.clip(limit - before, 0, points) if points > 0 else np.clip(limit - before, points, 0)


@pytest.mark.parametrize("points", [5.0, 40.0, -6.0])
@pytest.mark.parametrize("extrapolate", [False, True])
def test_a_linear_link_gives_slope_times_mean_rise(points: float, extrapolate: bool) -> None:
    fit = fit_of()
    design, draws = fit.design("function"), draws_of(fit.trees["function"])
    rows = fit["function"].rows
    observed = (rows.moderator.min(), rows.moderator.max())
    ends = fit.study.moderator.range if extrapolate else observed
    limit = ends[1] if points > 0 else ends[0]
    found = raised_alliance(fit["function"], points, extrapolate=extrapolate)
    rise = rises(fit, points, limit)
    unit = design.scaling.outcome[1] / design.scaling.moderator[1]
    slopes = unit * arm_slopes(Posterior(design, draws))
    np.testing.assert_allclose(found.change[:, :3], slopes * rise.mean(), rtol=1e-9)
    own = slopes[:, rows.arm_index] @ rise / len(rows)
    np.testing.assert_allclose(found.change[:, 3], own, rtol=1e-9)
    assert found.with_means is None
    assert (found.limit, found.patients) == (limit, len(rows))
    assert found.capped == (np.abs(rise) < abs(points) - 1e-9).sum()
    after = rows.moderator + rise
    beyond = ((after < observed[0] - 1e-9) | (after > observed[1] + 1e-9)).sum()
    assert found.extrapolated == beyond
    assert extrapolate or beyond == 0


def test_some_are_capped_and_some_are_not() -> None:
    found = raised_alliance(fit_of()["function"], 5.0)
    assert 0 < found.capped < found.patients


@pytest.mark.parametrize(("outcome", "family"), PAIRS)
def test_a_curved_link_gives_the_loop_over_patients(outcome: str, family: str) -> None:
    fit = fit_of(outcome, family=family)
    design, rows = fit.design(outcome), fit[outcome].rows
    found = raised_alliance(fit[outcome], 8.0)
    limit = rows.moderator.max()
    for number, arm in ((1, 0), (5, 2)):
        draw = draw_of(fit, outcome, number)
        changes = []
        for row in range(len(rows)):
            before = rows.in_arm(arm)
            lifted = before.at_moderator(min(rows.moderator[row] + 8.0, limit))
            changes.append(
                mean_of(design, draw, one_predictor(design, draw, lifted, row))
                - mean_of(design, draw, one_predictor(design, draw, before, row))
            )
        assert found.change[number, arm] == pytest.approx(np.mean(changes), rel=1e-8)


def test_therapists_means_may_rise_with_their_patients() -> None:
    """Then the slope between therapists counts where each arm's within them did."""
    fit = fit_of(moderator=ModeratorSpec(structure="within_between"))
    design, draws = fit.design("function"), draws_of(fit.trees["function"])
    found = raised_alliance(fit["function"], 5.0)
    assert found.with_means is not None
    rise = rises(fit, 5.0, fit["function"].rows.moderator.max())
    within = arm_slopes(Posterior(design, draws))
    contextual = flat(draws, "moderator_slope_between")[:, None] - within
    unit = design.scaling.outcome[1] / design.scaling.moderator[1]
    # The mean over patients of their therapists' mean rises is the mean rise.
    extra = unit * contextual * rise.mean()
    np.testing.assert_allclose((found.with_means - found.change)[:, :3], extra, rtol=1e-8)


def test_a_latent_alliance_is_lifted_from_where_each_draw_has_it() -> None:
    fit = fit_of(moderator=ModeratorSpec(reliability=0.7))
    design, draws = fit.design("function"), draws_of(fit.trees["function"])
    before = Posterior(design, draws).alliance()
    assert before.shape[0] == draws.sizes["chain"] * draws.sizes["draw"]
    found = raised_alliance(fit["function"], 5.0)
    mean, sd = design.scaling.moderator
    limit = (fit["function"].rows.moderator.max() - mean) / sd
    rise = np.maximum(np.minimum(limit - before, 5.0 / sd), 0).mean(axis=1)
    slopes = design.scaling.outcome[1] * arm_slopes(Posterior(design, draws))
    np.testing.assert_allclose(found.change[:, :3], slopes * rise[:, None], rtol=1e-8)
    # True values above the highest rating are lowered from there, which is no extrapolation.
    assert (before - 5.0 / sd > limit).any()
    assert raised_alliance(fit["function"], -5.0).extrapolated == 0


@pytest.mark.parametrize("points", [0.0, 97.0, -200.0, float("nan")])
def test_a_lift_that_makes_no_sense_is_refused(points: float) -> None:
    with pytest.raises(InputError, match=r"16 to 112.*up to 96"):
        raised_alliance(fit_of()["function"], points)


def lifted(**options: Any) -> Any:
    def many(design: Design) -> xr.Dataset:
        return therapist_posterior(design, chains=2, draws=50)

    fit = fit_of("function", many, better="lower", **options)
    return decisions(
        fit["function"], Thresholds(better_by=0.2, equivalence=(-0.1, 0.3)), raise_alliance=5.0
    )


def test_the_table_holds_each_arm_and_all_as_treated() -> None:
    answer = lifted()
    rows = answer.table[answer.table["quantity"] == "lift"]
    assert list(rows["level"]) == ["GE", "MCE", "SMT", "as treated"]
    draws = answer.raised.change[:, 1]
    row = rows.iloc[1]
    assert row["mean"] == pytest.approx(draws.mean())
    assert row["prob_better"] == pytest.approx((draws < 0).mean())
    assert row["prob_better_by"] == pytest.approx((draws <= -0.2).mean())
    assert row["prob_equivalent"] == pytest.approx(((draws > -0.1) & (draws < 0.3)).mean())
    assert set(rows["lift"]) == {5.0}
    assert "lift_with_therapist_means" not in set(answer.table["quantity"])
    taken_apart = lifted(moderator=ModeratorSpec(structure="within_between")).table
    assert (taken_apart["quantity"] == "lift_with_therapist_means").sum() == 4
