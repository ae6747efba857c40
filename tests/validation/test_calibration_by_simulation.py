"""Simulation-based calibration of the Gaussian model by both engines, and planted faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from planted_misfits import OUTCOME, SCENARIOS, planted_patients, random_numbers

import alliance.inference.many_fits.calibration as calibration
from alliance.inference.many_fits.calibration import Calibration, CalibrationQuestion, calibrate
from alliance.inference.sampling.profiles import Engine, SamplerProfile
from alliance.models.design.design import Design, build_design
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec

pytestmark = pytest.mark.validation

PRIORS = Priors()
SHORT = SamplerProfile("ci", chains=2, draws=500, tune=500)
TRIALS = {"instant": 300, "nuts": 100}
MODELS = {
    "no therapist effects": ModelSpec(OUTCOME, "none"),
    "intercepts": ModelSpec(OUTCOME, "intercept"),
    "intercepts and slopes": ModelSpec(OUTCOME),
    "arm effects by therapist": ModelSpec(OUTCOME, "intercept", therapist_by_arm=True),
    "one slope for all arms": ModelSpec(OUTCOME, interaction=False),
}


def design_of(spec: ModelSpec) -> Design:
    """182 patients of 12 therapists, in three arms."""
    name = "clean, full model"
    patients = planted_patients(SCENARIOS[name], random_numbers(name, 0))
    return build_design(patients, spec, (-1_000.0, 1_000.0))


def told(name: str, found: Calibration) -> None:
    table = found.table
    worst = table.loc[table["p_value"].idxmin()]
    print(
        f"{name}: {len(found.pit)} trials, smallest p {worst['p_value']:.4f} ({worst['quantity']} "
        f"{worst['level']}), after Holm {worst['p_adjusted']:.3f}; 95% intervals cover "
        f"{table['covered_95'].min():.3f} to {table['covered_95'].max():.3f}"
    )


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("engine", ["instant", "nuts"])
def test_every_reported_quantity_is_calibrated(name: str, engine: Engine) -> None:
    question = CalibrationQuestion(design_of(MODELS[name]), PRIORS, SHORT, 2, engine)
    found = calibrate(question, TRIALS[engine])
    told(f"{name}, {engine}", found)
    assert found.passed


def shifted(design: Design) -> Design:
    return replace(design, therapist_index=(design.therapist_index + 1) % len(design.therapists))


def shuffled(design: Design) -> Design:
    return replace(design, therapist_index=np.roll(design.therapist_index, 1))


def other_units(design: Design) -> Design:
    return replace(design, y=1.5 * design.y)


def test_relabelled_therapists_are_no_fault() -> None:
    """All therapists under the next one's name: nothing reported changes, and nothing is found."""
    assert planted(shifted).passed


@pytest.mark.parametrize("fault", [shuffled, other_units])
def test_planted_faults_are_found(fault: Callable[[Design], Design]) -> None:
    """Patients with their neighbour's therapist; outcomes in other units than the residual SD."""
    found = planted(fault)
    told(fault.__name__, found)
    assert not found.passed


def test_a_prior_that_differs_is_found() -> None:
    for name in ("moderator_slope", "therapist_sd", "interaction"):
        other = replace(PRIORS, **{name: getattr(PRIORS, name) / 3})
        design = design_of(MODELS["intercepts and slopes"])
        question = CalibrationQuestion(design, PRIORS, SHORT, 2, "instant", fitted=other)
        found = calibrate(question, 300)
        told(f"{name} a third as wide", found)
        assert not found.passed


def planted(fault: Callable[[Design], Design]) -> Calibration:
    """Calibration with a fault between the simulator and the model."""
    with pytest.MonkeyPatch.context() as patch:
        real = calibration.fit_outcome

        def faulty(design: Design, *rest: object, **options: object) -> object:
            return real(fault(design), *rest, **options)  # type: ignore[arg-type]

        patch.setattr(calibration, "fit_outcome", faulty)
        design = design_of(MODELS["intercepts and slopes"])
        return calibrate(CalibrationQuestion(design, PRIORS, SHORT, 2, "instant"), 300)
