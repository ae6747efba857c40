"""Recovery by z-score of trials with therapists in some arms only, and of clinics above them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from clinic_trials import design_with_clinics
from nested_trials import patients
from numpy.typing import NDArray
from recovery_scores import TRIALS, assert_recovered, random_numbers, scored, summarised

from alliance.inference.draws.datatree import draws_of
from alliance.inference.estimands.estimands import estimand_draws
from alliance.inference.posterior import Posterior
from alliance.inference.sampling.profiles import PROFILES
from alliance.inference.sampling.sampling import sample_outcome
from alliance.models.design.design import Design, build_design
from alliance.models.nesting import RESIDUAL_GROUP
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec

pytestmark = pytest.mark.validation

Array = NDArray[np.float64]

BETA = {"baseline": 0.5, "moderator": 0.3, "arm[1]": 0.3, "interaction[1]": 0.1}
THERAPIST_SD, CLINIC_SD = 0.3, 0.3


def partially_nested() -> Design:
    """240 patients in two arms, 14 therapists in one of them; residual SDs 0.7 and 0.9."""
    data = patients(("CBT", "TAU"), ("TAU",), number=240, therapists=15)
    return build_design(data, ModelSpec("example", "intercept", without_therapist=("TAU",)))


DESIGNS: dict[str, tuple[Design, tuple[float, ...]]] = {
    "therapists in one arm": (partially_nested(), (0.7, 0.9)),
    "clinics": (design_with_clinics(therapist="intercept", patients=320, clinics=16), (0.8,)),
    "clinics, crossed": (
        design_with_clinics("crossed", therapist="intercept", patients=320, clinics=16),
        (0.8,),
    ),
}


def true_values(design: Design, residual_sds: tuple[float, ...]) -> pd.Series:
    """Reported quantities at the true parameters."""
    one = ("chain", "draw")
    present = [design.coefficients[k] for k in design.present]
    beta = [BETA.get(name, 0.0) for name in present]
    values: dict[str, Any] = {
        "beta": ((*one, "coefficient"), np.array([[beta]])),
        "therapist_sd": (one, [[THERAPIST_SD]]),
        "residual_sd": (one, [[residual_sds[0]]]),
    }
    coords: dict[str, Any] = {"chain": [0], "draw": [0], "coefficient": present}
    if len(residual_sds) > 1:
        values["residual_sd"] = ((*one, RESIDUAL_GROUP), np.array([[residual_sds]]))
        coords |= design.nesting.coords(design.arms)
    if design.clinic_effects:
        values["clinic_sd"] = (one, [[CLINIC_SD]])
    found = estimand_draws(Posterior(design, xr.Dataset(values, coords=coords)))
    labels = zip(found["quantity"].values, found["level"].values, strict=True)
    index = pd.MultiIndex.from_tuples(labels, names=["quantity", "level"])
    return pd.Series(found.values.ravel(), index=index)


def simulated(design: Design, sds: tuple[float, ...], random: np.random.Generator) -> Design:
    """The design with outcomes drawn anew."""
    y = design.X @ [BETA.get(name, 0.0) for name in design.coefficients]
    own = THERAPIST_SD * random.standard_normal(len(design.therapists))
    y = y + np.append(own, 0.0)[design.therapist_index]
    if design.clinic_effects:
        y = y + (CLINIC_SD * random.standard_normal(len(design.clinics)))[design.clinic_of]
    y = y + np.array(sds)[design.residual_group] * random.standard_normal(len(y))
    return replace(design, y=y)


@pytest.mark.parametrize("name", DESIGNS)
def test_true_values_are_recovered(name: str) -> None:
    design, sds = DESIGNS[name]
    truth = true_values(design, sds)
    scores = []
    for number in range(TRIALS):
        trial = simulated(design, sds, random_numbers(name, number))
        tree, _ = sample_outcome(trial, Priors(), PROFILES["ci"], seed=number)
        scores.append(scored(estimand_draws(Posterior(trial, draws_of(tree))), truth))
    assert_recovered(summarised(scores), name)
