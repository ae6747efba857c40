"""Several trials: truths drawn from the priors lie anywhere in the posteriors, as they should."""

from __future__ import annotations

from dataclasses import replace

import pytest
from trials_together import ranked_set

from alliance.inference.many_fits.calibration import Calibration, calibration_of
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.models.priors import Priors

pytestmark = pytest.mark.validation
SHORT = SamplerProfile("ci", chains=2, draws=500, tune=500)
SEED = 17


def calibrated(sets: int, fitted: Priors | None = None) -> Calibration:
    """Over so many sets of 3 to 10 trials."""
    found = [ranked_set(SEED, k, Priors(), SHORT, fitted=fitted) for k in range(sets)]
    return calibration_of("several trials", found)


def test_posteriors_of_300_sets_are_as_wide_and_where_they_say() -> None:
    """Ranks of 17 quantities are uniform, and z-scores of each have a mean near 0.

    Given any data the expected z-score is 0, whatever the posterior's shape, so that of 300 the
    mean has a standard error of 1 / sqrt(300) = .058; the furthest of 17 lies within 3.7 of these,
    .21, with a chance of .996.
    """
    found = calibrated(300)
    assert found.passed, found.table.to_string()
    assert found.table["mean_z"].abs().max() < 0.21, found.table.to_string()
    assert found.fallbacks < 10, found.fallbacks  # NUTS where weights are unreliable: 1 in 30


def test_a_planted_fault_is_found() -> None:
    """Contrasts that vary between trials a third as much as they do."""
    narrow = replace(Priors(), trial_arm_sd=Priors().trial_arm_sd / 3)
    assert not calibrated(300, fitted=narrow).passed
