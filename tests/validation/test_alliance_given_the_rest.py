"""Arms, slopes and interactions where the alliance goes with arm, baseline and therapist.

Trials are made here from the formulas that the report prints, in SDs. What a model finds that
leaves arm and baseline out of the alliance's own, or that lets interactions multiply the whole
alliance, stands beside as a planted fault.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import pytest
import xarray as xr
from alliance_trials import fitted_without_predictors
from numpy.typing import NDArray

from alliance.inference.draws.datatree import draws_of
from alliance.inference.estimands.estimands import estimand_draws
from alliance.inference.many_fits import calibration as calibration_module
from alliance.inference.posterior import Posterior
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.models.design.design import Design, build_design
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec, ModeratorSpec

pytestmark = pytest.mark.validation

Array = NDArray[np.float64]
PROFILE = SamplerProfile("ci", chains=2, draws=500, tune=500)
# Wide, so that what is off is the model's doing: the default prior of a slope (SD .3) takes a sixth
# of a slope between 60 therapists, and the arm gets it
PRIORS = Priors(
    moderator_slope=1.0, arm=1.0, interaction=1.0, therapist_sd=1.0, therapist_slope_sd=1.0
)
# Monte Carlo errors that a mean over 12 trials may be off: t with 11 degrees of freedom is further
# out in 2 of 1,000 cases
ERRORS = 4
SLOPE, BASELINE, RESIDUAL = 0.4, 0.4, 0.7
CONTRAST, INTERACTION = ("arm_contrast", "B-A"), ("interaction", "B-A")
AVERAGE, BETWEEN = ("moderator_slope", "average"), ("moderator_slope", "between")


def patients(
    outcome: Array,
    baseline: Array,
    rating: Array,
    arm: Array,
    therapist: Array,
    true: Array | None = None,
) -> xr.Dataset:
    """A trial; ``true`` is the alliance without error of rating or ceiling, which is not fitted."""
    return xr.Dataset(
        {
            "outcome": ("patient", outcome),
            "baseline": ("patient", baseline),
            "moderator": ("patient", rating),
            "true": ("patient", rating if true is None else true),
            "arm_index": ("patient", arm),
            "therapist_index": ("patient", therapist),
            "covariates": (("patient", "covariate"), np.empty((len(arm), 0))),
        },
        coords={
            "arm": ["A", "B"],
            "therapist": [f"T{j}" for j in range(therapist.max() + 1)],
            "covariate": np.array([], dtype=str),
        },
    )


def in_points(design: Design, seed: int) -> dict[tuple[str, str], tuple[float, float]]:
    """Posterior mean and SD of every reported quantity."""
    tree, _ = calibration_module.fit_outcome(design, PRIORS, PROFILE, seed, engine="nuts", cores=1)
    found = estimand_draws(Posterior(design, draws_of(tree)))
    labels = zip(found["quantity"].values, found["level"].values, strict=True)
    values = found.transpose("estimand", "chain", "draw").values.reshape(
        found.sizes["estimand"], -1
    )
    return {
        (str(quantity), str(level)): (float(own.mean()), float(own.std()))
        for (quantity, level), own in zip(labels, values, strict=True)
    }


def over_trials(
    made: Callable[[np.random.Generator], xr.Dataset], spec: ModelSpec, trials: int
) -> dict[tuple[str, str], tuple[float, float]]:
    """Mean of the posterior means over trials, and its Monte Carlo error."""
    found = []
    for number in range(trials):
        data = made(np.random.default_rng([20130415, number]))
        found.append(in_points(build_design(data, spec), seed=number))
    return {
        label: (
            float(np.mean([own[label][0] for own in found])),
            float(np.std([own[label][0] for own in found], ddof=1) / np.sqrt(trials)),
        )
        for label in found[0]
    }


def off_the_truth(
    made: Callable[[np.random.Generator], xr.Dataset], spec: ModelSpec, trials: int
) -> dict[tuple[str, str], Array]:
    """Arm contrast and slope of each trial, less what least squares on the true alliance is off.

    Least squares are right on average whatever the trial's noise was, and share most of it: what is
    left of the noise is small.
    """
    found: dict[tuple[str, str], list[float]] = {CONTRAST: [], AVERAGE: []}
    for number in range(trials):
        data = made(np.random.default_rng([20130415, number]))
        points = in_points(build_design(data, spec), seed=number)
        arm, true, baseline = (data[own].values for own in ("arm_index", "true", "baseline"))
        columns = np.column_stack([arm, true, baseline, np.ones(len(arm))])
        known = np.linalg.lstsq(columns, data["outcome"].values)[0]
        found[CONTRAST].append(points[CONTRAST][0] - known[0])
        found[AVERAGE].append(points[AVERAGE][0] - (known[1] - SLOPE))
    return {label: np.array(values) for label, values in found.items()}


def mean_and_error(values: Array) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def told(name: str, found: dict[tuple[str, str], tuple[float, float]], *labels: tuple) -> None:
    for label in labels:
        mean, error = found[label]
        print(f"{name}: {' '.join(label)} {mean:.3f} (Monte Carlo error {error:.3f})")


def mismeasured(size: int) -> Callable[[np.random.Generator], xr.Dataset]:
    """Arms one SD apart in alliance, which goes with the baseline by .5; reliability .7."""
    fixed = np.random.default_rng(1)  # same arms and baselines in all trials: one compilation
    arm, therapist = np.arange(size) % 2, np.arange(size) // 2 % 12
    baseline = fixed.standard_normal(size)

    def made(random: np.random.Generator) -> xr.Dataset:
        true = arm - 0.5 + 0.5 * baseline + np.sqrt(0.75) * random.standard_normal(size)
        noise = np.sqrt(1.25 * 0.3 / 0.7) * random.standard_normal(size)
        outcome = SLOPE * true + BASELINE * baseline + RESIDUAL * random.standard_normal(size)
        outcome += 0.2 * random.standard_normal(12)[therapist]
        return patients(outcome, baseline, true + noise, arm, therapist, true)

    return made


@pytest.mark.parametrize("faulty", [False, True])
def test_reliability(faulty: bool) -> None:
    """A rating is shrunk to what is expected of its arm and baseline, not to the grand mean."""
    spec = ModelSpec(
        "example", "intercept", interaction=False, moderator=ModeratorSpec(reliability=0.7)
    )
    with fitted_without_predictors() if faulty else nullcontext():
        found = over_trials(mismeasured(300), spec, trials=12)
    told("without predictors" if faulty else "reliability", found, CONTRAST, AVERAGE)
    arm, error = found[CONTRAST]
    if faulty:
        assert arm > 3 * error  # truth 0
        return
    assert abs(arm) < 3 * error
    assert abs(found[AVERAGE][0] - SLOPE) < 3 * found[AVERAGE][1]
    assert abs(found["baseline_slope", ""][0] - BASELINE) < 3 * found["baseline_slope", ""][1]


def test_slope_of_a_thousand_patients() -> None:
    """With more patients the old model is no better: .33 for a slope of .40, by its formula.

    Nothing but therapists predicts the alliance in it, which has variance .25 + .25 + .75 = 1.25,
    and the noise 1.25 (.3 / .7) = .54. Of what arm and baseline leave of the ratings .75 of 1.29 is
    true, a share of .583; the old model takes .7, and finds a slope of .4 (.583 / .7) = .33.
    """
    spec = ModelSpec(
        "example", "intercept", interaction=False, moderator=ModeratorSpec(reliability=0.7)
    )
    found = off_the_truth(mismeasured(1_000), spec, trials=12)
    with fitted_without_predictors():
        old = off_the_truth(mismeasured(1_000), spec, trials=12)
    for label, truth, of_old in ((CONTRAST, 0.0, None), (AVERAGE, SLOPE, 0.333)):
        mean, error = mean_and_error(found[label])
        off, off_error = mean_and_error(old[label])
        print(
            f"n 1000: {' '.join(label)} {mean:.3f} ({error:.3f}), without predictors {off:.3f} "
            f"({off_error:.3f})"
        )
        assert abs(mean - truth) < ERRORS * error
        assert abs(off - truth) > ERRORS * off_error
        if of_old is not None:
            assert abs(off - of_old) < ERRORS * off_error


def at_the_ceiling(random: np.random.Generator) -> xr.Dataset:
    """Alliance rated without error, up to a score that a third of the patients reach."""
    size = 300
    fixed = mismeasured(size)(random)
    arm, baseline = fixed["arm_index"].values, fixed["baseline"].values
    true = arm - 0.5 + 0.5 * baseline + np.sqrt(0.75) * random.standard_normal(size)
    outcome = SLOPE * true + BASELINE * baseline + RESIDUAL * random.standard_normal(size)
    return fixed.assign(
        moderator=("patient", np.minimum(true, CEILING)),
        outcome=("patient", outcome),
        true=("patient", true),
    )


CEILING = 0.5


def test_ceiling() -> None:
    """The old model takes the arms' ratings at the ceiling to be too alike: the arm gets .037.

    So far apart were one trial's contrasts by the old model (.084) and by the right one (.047, of
    a truth of 0: a contrast's own standard error is .13).
    """
    spec = ModelSpec(
        "example", "intercept", interaction=False, moderator=ModeratorSpec(ceiling=CEILING)
    )
    found = off_the_truth(at_the_ceiling, spec, trials=12)
    with fitted_without_predictors():
        old = off_the_truth(at_the_ceiling, spec, trials=12)
    for label, truth in ((CONTRAST, 0.0), (AVERAGE, SLOPE)):
        mean, error = mean_and_error(found[label])
        off, off_error = mean_and_error(old[label])
        shift, shift_error = mean_and_error(old[label] - found[label])
        print(
            f"ceiling: {' '.join(label)} {mean:.3f} ({error:.3f}), without predictors {off:.3f} "
            f"({off_error:.3f}), which is {shift:.3f} ({shift_error:.3f}) more"
        )
        assert abs(mean - truth) < ERRORS * error
        if label == CONTRAST:
            assert off > ERRORS * off_error
            assert abs(shift - (0.084 - 0.047)) < ERRORS * shift_error


def nested(random: np.random.Generator) -> xr.Dataset:
    """60 therapists of 4 patients, in one arm each; arms 1.5 SD apart in alliance."""
    therapist = np.repeat(np.arange(60), 4)
    arm = therapist % 2
    own = 0.5 * random.standard_normal(60)[therapist] + 1.5 * (arm - 0.5)
    deviation = 0.8 * random.standard_normal(240)
    baseline = random.standard_normal(240)
    outcome = 0.5 * own + 0.1 * deviation + BASELINE * baseline
    outcome += 0.2 * random.standard_normal(60)[therapist]
    outcome += RESIDUAL * random.standard_normal(240)
    return patients(outcome, baseline, own + deviation, arm, therapist)


@pytest.mark.parametrize("faulty", [False, True])
def test_slopes_between_therapists_nested_in_arms(faulty: bool) -> None:
    """The slope between acts on all that therapists' means differ in, that of the arms included."""
    spec = ModelSpec(
        "example",
        "intercept",
        interaction=False,
        moderator=ModeratorSpec(structure="within_between"),
    )
    with fitted_without_predictors() if faulty else nullcontext():
        found = over_trials(nested, spec, trials=24)
    told("without predictors" if faulty else "nested", found, CONTRAST, BETWEEN)
    arm, error = found[CONTRAST]
    if faulty:
        assert arm > 3 * error
        return
    assert abs(arm) < 3 * error  # truth 0
    assert abs(found[BETWEEN][0] - 0.5) < 3 * found[BETWEEN][1]


def by_formula(random: np.random.Generator) -> xr.Dataset:
    """Interaction and therapist slopes act within therapists, whose means differ much."""
    therapist = np.repeat(np.arange(40), 10)
    arm = np.tile(np.arange(2), 200)
    own = random.standard_normal(40)[therapist]
    deviation = 0.8 * random.standard_normal(400)
    baseline = random.standard_normal(400)
    slope = 0.3 + 0.4 * (arm - 0.5) + 0.3 * random.standard_normal(40)[therapist]
    outcome = slope * deviation + 0.5 * own + BASELINE * baseline
    outcome += 0.3 * random.standard_normal(40)[therapist]
    outcome += RESIDUAL * random.standard_normal(400)
    return patients(outcome, baseline, own + deviation, arm, therapist)


def test_interactions_and_therapist_slopes_act_within_therapists() -> None:
    """By least squares on the whole alliance the interaction is a part of what it is."""
    spec = ModelSpec("example", moderator=ModeratorSpec("within_between", between_interaction=True))
    found = over_trials(by_formula, spec, trials=12)
    whole = []
    for number in range(12):
        design = build_design(by_formula(np.random.default_rng([20130415, number])), spec)
        beta = np.linalg.lstsq(design.X, design.y, rcond=None)[0]
        own = beta[design.coefficients.index("interaction[1]")] * np.sqrt(2)
        whole.append(abs(own) * design.scaling.outcome[1] / design.scaling.moderator[1])
    labels = (INTERACTION, ("therapist_slope_sd", ""), ("moderator_slope", "within"), BETWEEN)
    told("by formula", found, *labels, ("interaction_between", "B-A"))
    print(f"least squares on the whole alliance: interaction {np.mean(whole):.3f}")
    assert abs(found[INTERACTION][0] - 0.4) < 3 * found[INTERACTION][1]
    assert (
        abs(found["moderator_slope", "within"][0] - 0.3) < 3 * found["moderator_slope", "within"][1]
    )
    assert abs(found[BETWEEN][0] - 0.5) < 3 * found[BETWEEN][1]
    assert abs(found["therapist_slope_sd", ""][0] - 0.3) < 3 * found["therapist_slope_sd", ""][1]
    assert abs(found["interaction_between", "B-A"][0]) < 3 * found["interaction_between", "B-A"][1]
    assert np.mean(whole) < 0.25
