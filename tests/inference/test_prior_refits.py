"""Refits with other prior scales: what they are refits of, and what they show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from alliance.data_prep.errors import InputError
from alliance.inference.priors.prior_refits import (
    ALL,
    SCALES,
    PriorRefits,
    prior_refits,
    scaled,
    used_scales,
)
from alliance.inference.runs.fit import Fit
from alliance.models.priors import Priors

OUTCOME = "gpe"  # no baseline


@pytest.mark.mcmc
def test_the_same_scales_are_the_fit_itself(simulated_fit: Fit) -> None:
    found = prior_refits(simulated_fit[OUTCOME], factors=[1.0])
    np.testing.assert_array_equal(found.refitted[0], found.baseline)
    table = found.table()
    assert (table["shift"] == 0).all()
    assert (table["sd_ratio"] == 1).all()


@pytest.mark.mcmc
def test_half_and_double_scales_move_as_priors_do(simulated_fit: Fit) -> None:
    told: list[tuple[int, int]] = []
    found = prior_refits(
        simulated_fit[OUTCOME], alone=True, progress=lambda done, total: told.append((done, total))
    )
    kinds = used_scales(simulated_fit.design(OUTCOME))
    assert "baseline_slope" not in kinds
    expected = [(kind, factor) for kind in (ALL, *kinds) for factor in (0.5, 2.0)]
    assert list(found.priors) == expected
    assert told[-1] == (len(expected), len(expected))
    table = found.table().set_index(["prior", "factor", "quantity", "level"])
    mean = found.baseline[found.labels.index(("moderator_slope", "average")), 0]
    half = table.loc[("moderator_slope", 0.5, "moderator_slope", "average")]
    double = table.loc[("moderator_slope", 2.0, "moderator_slope", "average")]
    # A tighter prior around zero pulls towards it and narrows; a wider one does the opposite.
    # 2% of the posterior SD is what shifts of the same seed are known to.
    assert np.sign(half["shift"]) == -np.sign(mean)
    assert np.sign(double["shift"]) == np.sign(mean)
    assert half["sd_ratio"] < 1 < double["sd_ratio"] + 0.02
    therapist = table.loc[("therapist_sd", 0.5, "therapist_sd", "")]
    assert therapist["shift"] < 0
    largest = found.largest()
    assert list(zip(largest["quantity"], largest["level"], strict=True)) == list(found.labels)
    sizes = table["shift_sd"].abs().groupby(["quantity", "level"], sort=False).max()
    np.testing.assert_allclose(largest["shift_sd"].abs(), sizes)


def test_scales_are_multiplied_and_shapes_stay() -> None:
    usual = Priors()
    all_doubled = scaled(usual, ALL, 2.0)
    for name in SCALES:
        assert getattr(all_doubled, name) == 2 * getattr(usual, name)
    assert all_doubled.therapist_correlation == usual.therapist_correlation
    assert all_doubled.degrees_of_freedom == usual.degrees_of_freedom
    one = scaled(usual, "arm", 0.5)
    assert one == replace(usual, arm=usual.arm / 2)


def test_shifts_are_in_posterior_sds() -> None:
    found = PriorRefits(
        "pain",
        (("intercept", ""),),
        ((ALL, 0.5),),
        baseline=np.array([[2.0, 0.5, 0.03]]),
        refitted=np.array([[[1.0, 0.25, 0.04]]]),
    )
    row = found.table().iloc[0]
    assert (row["shift"], row["shift_sd"], row["sd_ratio"]) == (-1.0, -2.0, 0.5)
    assert row["shift_sd_mcse"] == pytest.approx(0.05 / 0.5)


def test_what_cannot_be_refitted_is_refused(made_fit: Fit) -> None:
    outcome = made_fit.outcomes[0]
    with pytest.raises(InputError, match="no outcome"):
        prior_refits(made_fit["nothing"])
    for factors in ([], [0.0], [-1.0], [np.inf]):
        with pytest.raises(InputError, match="factor"):
            prior_refits(made_fit[outcome], factors=factors)
    with pytest.raises(InputError, match="joint"):
        prior_refits(replace(made_fit, shared=xr.DataTree())[outcome])
