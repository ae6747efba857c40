"""Predictions for new therapists against PyMC's own, on the patient-level model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpy.typing import NDArray
from prediction_examples import example_fit

from alliance.inference.answers.predictions import predict
from alliance.inference.draws.datatree import draws_of
from alliance.inference.patients.asked_patients import AskedPatients
from alliance.inference.posterior import Rows
from alliance.inference.runs.fit import Fit
from alliance.models.design.design import Design
from alliance.models.patient_level import patient_level_model

pytestmark = [
    pytest.mark.mcmc,
    # The likelihood is a potential, and not what is asked for here.
    pytest.mark.filterwarnings("ignore:.*Potentials:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*object mode:UserWarning"),
]

Array = NDArray[np.float64]
PATIENTS, DRAWS = 9, 2000
THERAPISTS = ("X", "Y", "X", "Z", "Y", "X", "Z", "W", "W")


def some_patients(fit: Fit, outcome: str) -> AskedPatients:
    random, design = np.random.default_rng(8), fit.design(outcome)
    rows = Rows(
        arm_index=np.arange(PATIENTS) % 3,
        moderator=random.uniform(75, 105, PATIENTS),
        baseline=random.uniform(5, 20, PATIENTS) if design.has_baseline else None,
        covariates=np.empty((PATIENTS, 0)),
    )
    names = tuple(map(str, range(PATIENTS)))
    return AskedPatients(
        outcome, names, rows, True, THERAPISTS, np.zeros(PATIENTS, dtype=bool), False
    )


def by_pymc(fit: Fit, outcome: str, asked: AskedPatients) -> Array:
    """Outcomes of the patients by `pymc.sample_posterior_predictive`, shape (draws, patients).

    The model is the patient-level one, with the patients asked about in place of the trial's; the
    draws are the fit's, without its therapists. PyMC samples the new therapists' effects because
    ``sample_vars`` says so.
    """
    design, draws = fit.design(outcome), draws_of(fit.trees[outcome])
    labels = tuple(dict.fromkeys(THERAPISTS))
    index = np.array([labels.index(name) for name in THERAPISTS])
    imagined = replace(
        design,
        X=asked.rows.matrix(design),
        y=np.zeros(PATIENTS),
        therapist_index=index,
        therapists=labels,
        moderator_missing=np.zeros(PATIENTS, dtype=bool),
        count=np.ones(PATIENTS),
    )
    model = patient_level_model(imagined, fit.specs[outcome].priors)
    names = list(model.coords["coefficient"])
    with model:
        columns = [design.coefficients.index(name) for name in names]
        predictor = imagined.X[:, columns] @ model["beta"]
        for k, column in enumerate(design.effect_columns):
            predictor = predictor + model["therapist_effect"][index, k] * imagined.X[:, column]
        eta = design.scale.link_location + design.scale.link_unit * predictor
        outcome_of(model, design, eta)
    kept = draws.drop_dims(["therapist", "effect"]).reindex(coefficient=names, fill_value=0.0)
    frozen = [name for name in ("cutpoint",) if name in kept]
    tree = pm.sample_posterior_predictive(
        xr.DataTree.from_dict({"posterior": kept}),
        model=model,
        var_names=["predicted"],
        sample_vars=["therapist_standard", "predicted"],
        freeze_vars=frozen,
        predictions=True,
        progressbar=False,
        random_seed=5,
    )
    drawn = tree["predictions"].dataset["predicted"].values.reshape(-1, PATIENTS)
    return design.scale.offset + design.scale.unit * drawn


def outcome_of(model: pm.Model, design: Design, eta: Any) -> None:
    """The family's distribution as PyMC has it."""
    name = design.family.name
    if name == "gaussian":
        pm.Normal("predicted", eta, model["residual_sd"])
    elif name == "student_t":
        pm.StudentT("predicted", nu=model["degrees_of_freedom"], mu=eta, sigma=model["residual_sd"])
    elif name == "ordinal":
        pm.OrderedLogistic("predicted", eta=eta, cutpoints=model["cutpoint"], compute_p=False)
    else:
        share = pm.math.sigmoid(eta)
        precision = model["precision"]
        pm.BetaBinomial(
            "predicted", alpha=share * precision, beta=(1 - share) * precision, n=design.scale.top
        )


def paired_errors(ours: Array, theirs: Array) -> Array:
    """Differences of means in Monte Carlo errors: both have the same parameters draw by draw."""
    difference = ours - theirs
    return difference.mean(axis=0) / (difference.std(axis=0, ddof=1) / np.sqrt(len(difference)))


@pytest.mark.parametrize(
    ("likelihood", "outcome"),
    [
        ("published", "function"),
        ("published", "gpe"),
        ("student_t", "function"),
        ("native", "function"),
        ("native", "gpe"),
    ],
)
def test_means_and_variances_agree_within_4_monte_carlo_errors(
    likelihood: str, outcome: str
) -> None:
    fit = example_fit(likelihood, draws=DRAWS)
    asked = some_patients(fit, outcome)
    found = predict(fit[outcome], asked, therapist="new", seed=6)
    assert found.draws is not None
    ours = found.draws["outcome"].values.reshape(-1, PATIENTS)
    theirs = by_pymc(fit, outcome, asked)
    assert ours.shape == theirs.shape == (2 * DRAWS, PATIENTS)
    means = paired_errors(ours, theirs)
    centre = (ours.mean(axis=0) + theirs.mean(axis=0)) / 2
    squares = paired_errors((ours - centre) ** 2, (theirs - centre) ** 2)
    assert np.abs(means).max() < 4, means
    assert np.abs(squares).max() < 4, squares
    # Patients of one therapist go together, others do not: every covariance agrees too.
    pairs = [(j, k) for j in range(PATIENTS) for k in range(j)]
    products = paired_errors(
        *(
            np.stack([(x[:, j] - centre[j]) * (x[:, k] - centre[k]) for j, k in pairs], axis=1)
            for x in (ours, theirs)
        )
    )
    assert np.abs(products).max() < 4, products


def test_the_comparison_would_see_therapists_that_are_not_drawn() -> None:
    """The same patients with an average therapist: variances lie far off."""
    fit = example_fit(draws=DRAWS)
    asked = some_patients(fit, "function")
    found = predict(fit["function"], asked, therapist="average")
    assert found.draws is not None
    ours = found.draws["outcome"].values.reshape(-1, PATIENTS)
    theirs = by_pymc(fit, "function", asked)
    centre = theirs.mean(axis=0)
    squares = paired_errors((ours - centre) ** 2, (theirs - centre) ** 2)
    assert squares.min() < -4
