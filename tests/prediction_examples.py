"""Posteriors with therapists, patients asked about, and their predictor written term by term."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import xarray as xr
from example_families import made_posterior
from numpy.typing import NDArray

from alliance.data_prep.simulator.simulation import simulate_trial
from alliance.data_prep.study.description import narrowed
from alliance.data_prep.trial.trial import trial_from_frame
from alliance.inference.draws.datatree import add_patients
from alliance.inference.posterior import Rows
from alliance.inference.runs.fit import Fit
from alliance.models.design.design import Design, build_design
from alliance.models.design.encoding import sum_to_zero_basis
from alliance.models.spec import specify

Array = NDArray[np.float64]


def therapist_posterior(
    design: Design, seed: int = 5, *, chains: int = 2, draws: int = 4
) -> xr.Dataset:
    """Random parameters as `made_posterior` makes them, with each therapist's own effects."""
    random = np.random.default_rng(seed)
    found = made_posterior(design, seed, chains=chains, draws=draws)
    shape = (chains, draws)
    found = found.assign_coords(therapist=list(design.therapists), effect=list(design.effects))
    if "slope" in design.effects:
        found["therapist_correlation"] = (("chain", "draw"), random.uniform(-0.9, 0.9, shape))
    if design.effects:
        effects = random.normal(size=(*shape, len(design.therapists), len(design.effects)))
        found["therapist_effect"] = (("chain", "draw", "therapist", "effect"), 0.3 * effects)
    if design.moderator.structure == "within_between":
        means = random.normal(size=(*shape, len(design.therapists)))
        found["moderator_therapist_mean"] = (("chain", "draw", "therapist"), 0.5 * means)
    return found


def posterior_of(
    design: Design, chains: int, draws: int, parameters: dict[str, object]
) -> xr.Dataset:
    """A posterior in which every parameter is given: a number, or an array (draws of all chains).

    ``beta`` is a dict of coefficients by name; those not named are zero.
    """
    names = [design.coefficients[k] for k in design.present]
    total = chains * draws
    values: dict[str, tuple[tuple[str, ...], Array]] = {}
    for name, given in parameters.items():
        if name == "beta":
            assert isinstance(given, dict)
            columns = [np.broadcast_to(given.get(key, 0.0), total) for key in names]
            array = np.stack(columns, axis=1).reshape(chains, draws, -1)
            values[name] = (("chain", "draw", "coefficient"), array)
        elif name == "moderator_coefficient":
            array = np.broadcast_to(np.asarray(given, float), (chains, draws, len(given)))
            values[name] = (("chain", "draw", "moderator_predictor"), array)
        elif name == "cutpoint":
            array = np.broadcast_to(np.asarray(given, float), (chains, draws, design.scale.top))
            values[name] = (("chain", "draw", "threshold"), array)
        else:
            array = np.broadcast_to(np.asarray(given, float), total).reshape(chains, draws)
            values[name] = (("chain", "draw"), array)
    coords = {"chain": np.arange(chains), "draw": np.arange(draws), "coefficient": names}
    return xr.Dataset(values, coords=coords)


def some_rows(design: Design, count: int = 5, seed: int = 3) -> Rows:
    """Patients with random values on their own scales, one arm after the other."""
    random = np.random.default_rng(seed)
    return Rows(
        arm_index=np.arange(count) % len(design.arms),
        moderator=random.normal(80, 12, count),
        baseline=random.normal(10, 4, count) if design.has_baseline else None,
        covariates=random.normal(size=(count, len(design.covariates))),
    )


def one_predictor(
    design: Design,
    draw: xr.Dataset,
    rows: Rows,
    row: int,
    therapist: str | None = None,
    own_mean: float = 0.0,
) -> float:
    """A row's predictor at one draw, term by term; an average therapist's, or a known one's.

    Where the alliance is taken apart an average therapist may have any mean alliance.
    """
    arms, scaling = len(design.arms), design.scaling
    basis = sum_to_zero_basis(arms)[rows.arm_index[row]]
    alliance = (rows.moderator[row] - scaling.moderator[0]) / scaling.moderator[1]
    beta = dict(zip(draw["coefficient"].values.tolist(), draw["beta"].values, strict=True))
    total = beta.get("intercept", 0.0) + beta["moderator"] * alliance
    if rows.baseline is not None:
        mean, sd = scaling.baseline
        total += beta["baseline"] * (rows.baseline[row] - mean) / sd
    for k in range(arms - 1):
        total += beta[f"arm[{k + 1}]"] * basis[k]
        total += beta.get(f"interaction[{k + 1}]", 0.0) * basis[k] * alliance
    for k, name in enumerate(design.covariates):
        mean, sd = scaling.covariates[k]
        total += beta[f"covariate[{name}]"] * (rows.covariates[row, k] - mean) / sd
    if "moderator_slope_between" in draw:
        if therapist is not None:
            own_mean = float(draw["moderator_therapist_mean"].sel(therapist=therapist))
        within, between = beta["moderator"], float(draw["moderator_slope_between"])
        for k in range(arms - 1):
            within += beta.get(f"interaction[{k + 1}]", 0.0) * basis[k]
            if "moderator_interaction_between" in draw:
                between += float(draw["moderator_interaction_between"][k]) * basis[k]
        total += (between - within) * own_mean
    if therapist is None:
        return float(total)
    if not design.effects:
        return float(total)
    effects = draw["therapist_effect"]  # by therapist and effect
    own = effects.values[effects.get_index("therapist").get_loc(therapist)]
    own_effects = dict(zip(effects.get_index("effect"), own, strict=True))
    for effect in design.effects:
        multiplier = {"intercept": 1.0, "slope": alliance - own_mean}.get(effect)
        if multiplier is None:
            multiplier = basis[int(effect[4:-1]) - 1]
        total += own_effects[effect] * multiplier
    return float(total)


@cache
def example_fit(
    likelihood: str = "published",
    *,
    covariates: tuple[str, ...] = (),
    chains: int = 2,
    draws: int = 40,
    **settings: Any,
) -> Fit:
    """Two outcomes of a small simulated trial with random draws, therapists' effects included.

    With the likelihood ``student_t`` the outcome function has that family; ``settings`` are those
    of ``[model]``.
    """
    made = simulate_trial(seed=4, patients=90, therapists=5)
    described = narrowed(made.study, outcomes=["function", "gpe"])
    outcomes = dict(described.outcomes)
    if likelihood == "student_t":
        likelihood = "native"
        outcomes["function"] = outcomes["function"].model_copy(update={"family": "student_t"})
    model = described.model.model_copy(update={"likelihood": likelihood, **settings})
    changes = {"model": model, "outcomes": outcomes, "covariates": covariates}
    study = described.model_copy(update=changes)
    trial = trial_from_frame(study, made.frame)
    specs = specify(study)
    trees = {}
    for number, (name, spec) in enumerate(specs.items()):
        design = build_design(trial.analysed(name), spec, study.outcomes[name].range)
        made = therapist_posterior(design, number + 5, chains=chains, draws=draws)
        trees[name] = xr.DataTree.from_dict({"posterior": made})
        add_patients(trees[name], trial.analysed(name))
    return Fit(study, specs, trees, trial.flow, {"seed": 3})


def with_posterior(fit: Fit, outcome: str, posterior: xr.Dataset) -> Fit:
    """The fit with other draws of one outcome, and that outcome alone."""
    tree = fit.trees[outcome].copy()
    tree["posterior"] = xr.DataTree(posterior)
    specs = {outcome: fit.specs[outcome]}
    return replace(fit, specs=specs, trees={outcome: tree})
