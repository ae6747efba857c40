"""Replicated outcomes: their distribution at every draw, their therapists, their repetition."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from effect_fits import PAIRS, draw_of, fit_of, mean_of, score_distribution
from numpy.typing import NDArray
from prediction_examples import one_predictor, therapist_posterior

from alliance.data_prep.errors import InputError
from alliance.inference.pointwise.replicates import Replicates, replicate, thin
from alliance.inference.runs.fit import Fit
from alliance.models.design.design import Design
from alliance.models.spec import ModeratorSpec

Array = NDArray[np.float64]
EVERY = [*PAIRS, ("gpe", "ordinal_probit")]


def block_of(fit: Fit, outcome: str = "function", number: int = 8, seed: int = 1) -> Replicates:
    (block,) = replicate(fit[outcome], number=number, seed=seed)
    return block


def therapist_of(design: Design, row: int) -> str:
    return design.therapists[design.therapist_index[row]]


@pytest.mark.parametrize(("outcome", "family"), PAIRS)
def test_expected_scores_and_spreads_are_those_of_each_draw(outcome: str, family: str) -> None:
    fit = fit_of(outcome, family=family, therapist_by_arm=True)
    design, rows = fit.design(outcome), fit[outcome].rows
    block = block_of(fit, outcome)
    spread = np.broadcast_to(block.spread, block.expected.shape)
    assert block.average is not None
    for number, row in ((0, 0), (3, 17), (7, 40)):
        draw = draw_of(fit, outcome, number)
        predictor = one_predictor(design, draw, rows, row, therapist_of(design, row))
        assert block.expected[number, row] == pytest.approx(mean_of(design, draw, predictor))
        nobody = one_predictor(design, draw, rows, row)
        assert block.average[number, row] == pytest.approx(mean_of(design, draw, nobody))
        law = score_distribution(design, draw, predictor)
        if family == "student_t":  # the scale, where an SD may not exist
            sd = design.scale.unit * float(draw["residual_sd"])
        else:
            sd = law[0].std() if isinstance(law, tuple) else law.std()
        assert spread[number, row] == pytest.approx(sd)


@pytest.mark.parametrize(("outcome", "family"), EVERY)
def test_replicates_scatter_around_the_expected_scores_as_the_family_says(
    outcome: str, family: str
) -> None:
    """With 2,000 replicates of 8 draws: z-scores of 70 patients' means, and their mean square."""
    block = block_of(fit_of(outcome, family=family), outcome, number=2000)
    residual = block.residual(block.drawn)
    if family == "student_t":
        residual = np.clip(residual, -5, 5)  # its SD may not exist; the law is symmetric
    z = residual.mean(axis=0) / (residual.std(axis=0) / np.sqrt(len(residual)))
    assert np.abs(z).max() < 4.5  # in 1 of 2,000 sets of 70 normal numbers one is larger
    if family != "student_t":
        # Standardised residuals have variance 1; its error is sqrt((kurtosis - 1) / 140,000), which
        # for a kurtosis of 20 is 0.012.
        assert np.square(residual).mean() == pytest.approx(1, abs=0.04)
    if block.design.family.discrete:
        low = block.design.scale.offset
        assert set(np.unique(block.drawn)) <= set(low + np.arange(block.design.scale.top + 1))


def with_huge_effects(design: Design) -> xr.Dataset:
    """Saved therapists' effects of 100 SDs, though the SD of new therapists' effects is 0.2."""
    found = therapist_posterior(design)
    found["therapist_effect"] = 0 * found["therapist_effect"] + 100
    found["therapist_sd"] = 0 * found["therapist_sd"] + 0.2
    return found


def test_new_therapists_are_drawn_anew_and_shared_by_their_patients() -> None:
    block = block_of(fit_of(posterior=with_huge_effects, therapist="intercept"), number=2000)
    assert block.new is not None
    assert block.average is not None
    unit = block.design.scale.unit
    assert (block.drawn - block.average).min() > 50 * unit
    deviation = (block.new - block.average) / unit
    assert np.abs(deviation.mean()) < 0.1
    same = np.equal.outer(block.design.therapist_index, block.design.therapist_index)
    np.fill_diagonal(same, False)
    covariance = np.cov(deviation.T)
    # Patients of one therapist share an effect of variance 0.04; the mean of so many covariances of
    # 2,000 draws (each with an error of at most 1.4 / sqrt(2000)) is known to 0.01.
    assert covariance[same].mean() == pytest.approx(0.04, abs=0.01)
    np.fill_diagonal(same, True)
    assert covariance[~same].mean() == pytest.approx(0, abs=0.005)


def test_without_therapist_effects_there_are_no_new_therapists() -> None:
    block = block_of(fit_of(therapist="none"))
    assert block.new is None
    assert block.average is None


@pytest.mark.parametrize(
    "moderator",
    [
        ModeratorSpec(structure="within_between"),
        ModeratorSpec(reliability=0.7),
        ModeratorSpec("within_between", "impute", 0.7),
    ],
)
def test_the_alliance_is_that_of_the_draw(moderator: ModeratorSpec) -> None:
    fit = fit_of(moderator=moderator)
    design, rows = fit.design("function"), fit["function"].rows
    block = block_of(fit)
    for number, row in ((1, 5), (6, 30)):
        draw, own = draw_of(fit, "function", number), rows
        if moderator.latent:
            standard = float(draw["moderator_latent"].sel(latent_patient=row))
            centre, sd = design.scaling.moderator
            own = rows.at_moderator(centre + sd * standard)
        predictor = one_predictor(design, draw, own, row, therapist_of(design, row))
        assert block.expected[number, row] == pytest.approx(mean_of(design, draw, predictor))


def test_the_same_seed_gives_the_same_replicates_and_another_one_others() -> None:
    fit = fit_of()
    first, again, other = (block_of(fit, seed=seed).drawn for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.equal(first, other).any()
    run = replace(fit, manifest={**fit.manifest, "seed": 1})
    (own,) = replicate(run["function"], number=8)
    np.testing.assert_array_equal(own.drawn, first)


def test_many_patients_come_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = fit_of()
    monkeypatch.setattr(
        "alliance.inference.draws.summaries.BLOCK_NUMBERS", 3 * len(fit.design("function").y)
    )
    blocks = list(replicate(fit["function"], number=8, seed=1))
    assert [len(block.drawn) for block in blocks] == [3, 3, 2]
    whole = np.concatenate([block.expected for block in blocks])
    monkeypatch.undo()
    np.testing.assert_array_equal(whole, block_of(fit).expected)


@pytest.mark.parametrize(
    ("number", "chosen"), [(4, [0, 2, 4, 6]), (8, range(8)), (12, [0, 0, 1, 2, 2, 3, 4, 4])]
)
def test_draws_are_taken_at_equal_distances(number: int, chosen: Any) -> None:
    values = np.arange(8.0).reshape(2, 4)
    draws = xr.Dataset(
        {
            "a": (("chain", "draw"), values),
            "b": (("draw", "chain", "k"), np.stack([values.T, 10 * values.T], axis=-1)),
        },
        coords={"k": ["x", "y"]},
    )
    found = thin(draws, number)
    assert found["a"].values[0, :8].tolist() == list(chosen)[:8]
    assert found["b"].sel(k="y").values[0].tolist() == (10 * found["a"].values[0]).tolist()
    assert dict(found.sizes) == {"chain": 1, "draw": number, "k": 2}


def test_an_outcome_that_the_run_has_not_is_refused() -> None:
    with pytest.raises(InputError, match="no outcome 'funktion'"):
        next(replicate(fit_of()["funktion"], seed=1))
