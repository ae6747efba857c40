"""Average comparisons and slopes against `bambi.interpret`, for a straight and a curved link."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import arviz_stats as azs
import bambi as bmb
import numpy as np
import nutpie
import pandas as pd
import pytest
import xarray as xr
from bambi.interpret import comparisons, slopes
from numpy.typing import NDArray
from prediction_examples import with_posterior

from alliance.data_prep.simulator.simulation import simulate_trial
from alliance.data_prep.study.description import narrowed
from alliance.data_prep.trial.trial import trial_from_frame
from alliance.inference.answers.averages import average
from alliance.inference.answers.predictions import predict
from alliance.inference.patients.asked_patients import trial_patients
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.fitting import fit_trial
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.models.design.design import Design
from alliance.models.design.encoding import sum_to_zero_basis
from alliance.models.families.family import GAMMA
from alliance.models.priors import Priors

pytestmark = [pytest.mark.validation, pytest.mark.filterwarnings("ignore::FutureWarning")]

Array = NDArray[np.float64]
PROFILE = SamplerProfile("standard", chains=4, draws=2000, tune=1000, target_accept=0.95)
FAMILIES = {"published": "gaussian", "native": "beta_binomial"}
CONTRASTS = {"MCE-GE": (0, 1), "SMT-GE": (0, 2)}
STEP = 1e-4  # of the standardised alliance, for finite differences: bambi's default too
# Terms of bambi's formula and the coefficients that they are here; arms stand on our own basis.
TERMS = {
    "Intercept": "intercept",
    "baseline": "baseline",
    "code1(arm)": "arm[1]",
    "code2(arm)": "arm[2]",
    "alliance": "moderator",
    "code1(arm):alliance": "interaction[1]",
    "code2(arm):alliance": "interaction[2]",
}


@dataclass(frozen=True)
class Pair:
    """Two fits of the same model, data and priors: sampled here, and by bambi's model."""

    fit: Fit
    model: bmb.Model
    tree: xr.DataTree

    @property
    def design(self) -> Design:
        return self.fit.design("function")

    @property
    def unit(self) -> float:
        """Points of the outcome in one unit of bambi's expected value."""
        scale = self.design.scale
        return float(scale.top or scale.unit)


def code(arm: Any, column: int) -> Array:
    """A column of the sum-to-zero basis, for formulae."""
    return sum_to_zero_basis(3)[np.asarray(arm).astype(int), column]


@cache
def pair(likelihood: str) -> Pair:
    made = simulate_trial(seed=6)
    study = narrowed(
        made.study, outcomes=["function"], therapist="intercept", likelihood=likelihood
    )
    trial = trial_from_frame(study, made.frame)
    fit = fit_trial(trial, PROFILE, seed=1)
    design = fit.design("function")
    assert design.family.name == FAMILIES[likelihood]
    columns = {term: design.coefficients.index(name) for term, name in TERMS.items()}
    data = pd.DataFrame(
        {
            "y": design.y.astype(int) if design.family.discrete else design.y,
            "top": design.scale.top,
            "baseline": design.X[:, columns["baseline"]],
            "alliance": design.X[:, columns["alliance"]],
            "arm": fit.patients("function")["arm_index"].values.astype(float),
            "therapist": pd.Categorical.from_codes(
                design.therapist_index, categories=list(design.therapists)
            ),
        }
    )
    model = bambis_model(design, fit.specs["function"].priors, data)
    tree = nutpie.sample(
        nutpie.compile_pymc_model(model.backend.model),
        draws=PROFILE.draws,
        tune=PROFILE.tune,
        chains=PROFILE.chains,
        target_accept=PROFILE.target_accept,
        seed=2,
        progress_bar=False,
    )
    assert tree["sample_stats"]["diverging"].mean() < 0.001
    observed = xr.Dataset(
        {"y": ("__obs__", data["y"].to_numpy())}, coords={"__obs__": np.arange(len(data))}
    )
    found = {"posterior": tree["posterior"].dataset, "observed_data": observed}
    return Pair(fit, model, xr.DataTree.from_dict(found))


def bambis_model(design: Design, priors: Priors, data: pd.DataFrame) -> bmb.Model:
    """The same model on the link's scale, written by bambi."""
    location, unit = design.scale.link_location, design.scale.link_unit
    scales = dict(zip(design.coefficients, design.prior_sd(priors), strict=True))
    own: dict[str, Any] = {
        term: bmb.Prior(
            "Normal", mu=location if term == "Intercept" else 0, sigma=unit * scales[name]
        )
        for term, name in TERMS.items()
    }
    between = bmb.Prior("HalfNormal", sigma=unit * priors.therapist_sd)
    own["1|therapist"] = bmb.Prior("Normal", mu=0, sigma=between)
    if design.family.discrete:
        response, family = "p(y, top)", "beta_binomial"
        own["kappa"] = bmb.Prior("Gamma", **GAMMA)
    else:
        response, family = "y", "gaussian"
        own["sigma"] = bmb.Prior("HalfNormal", sigma=priors.residual_sd)
    model = bmb.Model(
        f"{response} ~ {' + '.join(list(TERMS)[1:])} + (1|therapist)",
        data,
        family=family,
        priors=own,
        center_predictors=False,
        extra_namespace={f"code{k + 1}": partial(code, column=k) for k in (0, 1)},
    )
    model.build()
    return model


def with_bambis_draws(both: Pair) -> Fit:
    """The fit with the draws of bambi's model, brought to the standardised scale."""
    design, draws = both.design, both.tree["posterior"].dataset
    location, unit = design.scale.link_location, design.scale.link_unit
    shift = {"Intercept": location}
    beta = xr.concat(
        [(draws[term] - shift.get(term, 0)) / unit for term in TERMS], dim="coefficient"
    ).assign_coords(coefficient=list(TERMS.values()))
    effects = draws["1|therapist"].rename({"therapist__factor_dim": "therapist"}) / unit
    found = xr.Dataset(
        {
            "beta": beta,
            "therapist_sd": draws["1|therapist_sigma"] / unit,
            "therapist_effect": effects.expand_dims({"effect": ["intercept"]}, axis=-1),
            "precision" if design.family.discrete else "residual_sd": draws[
                "kappa" if design.family.discrete else "sigma"
            ],
        }
    ).transpose("chain", "draw", ...)
    return with_posterior(both.fit, "function", found)


def average_contrasts(fit: Fit) -> dict[str, Array]:
    """Draws of the average comparisons: the trial's patients, each with the own therapist."""
    found = average(fit["function"], trial_patients(fit["function"]), therapist="own")
    draws = np.moveaxis(found.draws["expected"].values, -1, 0)
    means = dict(zip(found.table["arm"], draws, strict=True))
    return {name: means[name[:3]] - means["GE"] for name in CONTRASTS}


def average_slope(fit: Fit) -> Array:
    """Draws of the average slope for one SD of the alliance, everybody at its mean."""
    mean, sd = fit.design("function").scaling.moderator
    values = []
    for value in (mean, mean + STEP * sd):
        patients = trial_patients(fit["function"], alliance=[value])
        found = predict(fit["function"], patients, therapist="own")
        assert found.table["arm"].nunique() == 3  # everybody in the arm of the trial
        assert found.draws is not None
        values.append(found.draws["expected"].mean("row").values)
    return (values[1] - values[0]) / STEP


def bambis_contrast(both: Pair, arms: tuple[int, int]) -> tuple[float, Array]:
    """Bambi's average comparison of two arms, and its draws."""
    found = comparisons(both.model, both.tree, contrast={"arm": [float(arm) for arm in arms]})
    mu = found.draws["posterior"]["mu"].values
    first, second = np.split(mu, 2, axis=-1)
    draws = both.unit * (second - first).mean(axis=-1)
    return both.unit * float(found.summary["estimate"].mean()), draws


def bambis_slope(both: Pair) -> tuple[float, Array]:
    """Bambi's average slope at the mean alliance, and its draws."""
    found = slopes(both.model, both.tree, wrt={"alliance": 0.0}, eps=STEP)
    mu = found.draws["posterior"]["mu"].values
    first, second = np.split(mu, 2, axis=-1)
    draws = both.unit * (second - first).mean(axis=-1) / STEP
    return both.unit * float(found.summary["estimate"].mean()), draws


def theirs(both: Pair) -> Mapping[str, tuple[float, Array]]:
    found = {name: bambis_contrast(both, arms) for name, arms in CONTRASTS.items()}
    return found | {"slope": bambis_slope(both)}


@pytest.mark.parametrize("likelihood", FAMILIES)
def test_average_comparisons_and_slopes_agree_within_4_monte_carlo_errors(
    likelihood: str,
) -> None:
    both = pair(likelihood)
    ours = average_contrasts(both.fit) | {"slope": average_slope(both.fit)}
    for name, (estimate, draws) in theirs(both).items():
        assert estimate == pytest.approx(draws.mean(), rel=1e-6)  # what bambi tells is the mean
        for moment in ("mean", "sd"):
            one, other = (
                getattr(values, {"mean": "mean", "sd": "std"}[moment])()
                for values in (ours[name], draws)
            )
            errors = [float(azs.mcse(values, method=moment)) for values in (ours[name], draws)]
            gap = (one - other) / np.hypot(*errors)
            print(f"{FAMILIES[likelihood]}, {name}, {moment}: {one:.4f}, {other:.4f}, {gap:.2f}")
            assert abs(gap) < 4, (name, moment)
            assert errors[0] < 0.05 * ours[name].std()  # the comparison is sharp


@pytest.mark.parametrize("likelihood", FAMILIES)
def test_the_same_draws_give_the_same_answers(likelihood: str) -> None:
    """Bambi's draws through our averages: what is left is rounding, and that of the step."""
    both = pair(likelihood)
    fit = with_bambis_draws(both)
    ours = average_contrasts(fit) | {"slope": average_slope(fit)}
    for name, (_, draws) in theirs(both).items():
        np.testing.assert_allclose(ours[name], draws, rtol=1e-6, atol=1e-6 * both.unit)


def test_the_therapists_that_are_averaged_over_matter_here() -> None:
    """With a curved link an average therapist gives another answer than the patients' own."""
    both = pair("native")
    fit = with_bambis_draws(both)
    patients = trial_patients(fit["function"])
    own, ordinary = (
        average(fit["function"], patients, therapist=name).contrasts["expected"]
        for name in ("own", "average")
    )
    assert (own - ordinary).abs().max() > 1e-4
