"""The instant engine in families without a closed form: its integrals, and its calibration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from example_families import family_design
from integrated_examples import NUMERIC, by_quadrature
from test_instant_families_against_nuts import trial

from alliance.inference.draws.datatree import draws_of
from alliance.inference.many_fits.calibration import Calibration, CalibrationQuestion, calibrate
from alliance.inference.sampling.instant import instant_outcome
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.models.design.design import Design
from alliance.models.integrated.likelihood import FamilyDraws, Patients, log_marginal
from alliance.models.priors import Priors

pytestmark = pytest.mark.validation

PRIORS = Priors()
SHORT = SamplerProfile("ci", chains=2, draws=500, tune=500)
POINTS = 200


def posterior_points(design: Design) -> tuple[FamilyDraws, int]:
    """Draws of the instant engine, and how many nodes it took."""
    tree, _ = instant_outcome(design, PRIORS, SHORT, 1)
    draws = draws_of(tree).stack(sample=("chain", "draw")).isel(sample=slice(0, None, 5))
    draws = draws.transpose("sample", ...)
    beta = np.zeros((draws.sizes["sample"], len(design.coefficients)))
    beta[:, design.present] = draws["beta"].values
    names = {parameter.name for parameter in design.family.parameters}
    own = {name: draws[name].values for name in names if name in draws}
    spreads = ("therapist_sd", "therapist_slope_sd", "therapist_correlation")
    theirs = {name: draws[name].values for name in spreads if name in draws}
    return FamilyDraws(beta, own, **theirs), tree["sample_stats"].attrs["nodes"]


@pytest.mark.parametrize("family", NUMERIC)
def test_integrals_are_those_of_200_nodes(family: str) -> None:
    design = family_design(family, therapist="intercept", patients=120)
    draws, nodes = posterior_points(design)
    assert len(draws) == POINTS
    away = log_marginal(Patients(design), draws, nodes) - by_quadrature(design, draws, POINTS)
    print(f"{family}, intercepts: {nodes} nodes, off by {np.abs(away).max():.1e} at most")
    assert np.abs(away).max() < 1e-4


@pytest.mark.parametrize("family", NUMERIC)
def test_integrals_of_large_caseloads_are_those_of_many_nodes(family: str) -> None:
    """Six therapists of 60 patients, intercepts and slopes."""
    design = family_design(family, patients=450)
    draws, nodes = posterior_points(design)
    patients = Patients(design)
    away = log_marginal(patients, draws, nodes) - log_marginal(patients, draws, 27)
    print(f"{family}, slopes: {nodes} nodes, off by {np.abs(away).max():.1e} at most")
    assert np.abs(away).max() < 1e-4


def told(name: str, found: Calibration) -> None:
    table = found.table
    worst = table.loc[table["p_value"].idxmin()]
    print(
        f"{name}: {len(found.pit)} trials, smallest p {worst['p_value']:.4f} ({worst['quantity']} "
        f"{worst['level']}), after Holm {worst['p_adjusted']:.3f}; 95% intervals cover "
        f"{table['covered_95'].min():.3f} to {table['covered_95'].max():.3f}; "
        f"{found.fallbacks} by NUTS"
    )


@pytest.mark.parametrize("family", NUMERIC)
def test_every_reported_quantity_is_calibrated(family: str) -> None:
    question = CalibrationQuestion(trial(family, "crossed", 0), PRIORS, SHORT, 11, "instant")
    found = calibrate(question, 300)
    told(family, found)
    assert found.passed


@pytest.mark.parametrize("family", NUMERIC)
def test_planted_faults_are_found(family: str) -> None:
    """A prior of the arms a tenth as wide as the simulator's."""
    tight = replace(PRIORS, arm=PRIORS.arm / 10)
    design = trial(family, "crossed", 0)
    found = calibrate(CalibrationQuestion(design, PRIORS, SHORT, 11, "instant", tight), 100)
    told(f"{family}, planted fault", found)
    assert not found.passed
