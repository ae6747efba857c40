"""The random parts of a simulated trial: allocation, alliance, scores, and who is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.simulator.inputs import ARMS, SimulationInputs
from alliance.data_prep.simulator.truth import OutcomeTruth

type Floats = NDArray[np.float64]
type Integers = NDArray[np.int64]
type Flags = NDArray[np.bool_]


def allocate_arms(random: np.random.Generator, patients: int, inputs: SimulationInputs) -> Integers:
    """Arm of each patient, shape (patients,): sizes fixed by the inputs' shares, order random."""
    sizes = np.array([inputs.trial.arms[arm].value for arm in ARMS])
    ends = np.rint(np.cumsum(sizes) / sizes.sum() * patients).astype(np.int64)
    return random.permutation(np.repeat(np.arange(len(ARMS)), np.diff(ends, prepend=0)))


def allocate_therapists(
    random: np.random.Generator,
    arm: Integers,
    therapists: int,
    crossed: bool,
    inputs: SimulationInputs,
) -> Integers:
    """Therapist of each patient, shape (patients,): log-normal caseloads, each has a patient.

    Nested in arms, therapist j treats in the arm with position j modulo the number of arms.
    """
    weight = np.exp(inputs.trial.caseload_spread.value * random.standard_normal(therapists))
    therapist = np.empty(len(arm), dtype=np.int64)
    groups = (
        [np.arange(len(arm))] if crossed else [np.flatnonzero(arm == k) for k in range(len(ARMS))]
    )
    for position, group in enumerate(groups):
        own = np.arange(position, therapists, len(groups))
        chance = weight[own] / weight[own].sum()
        others = random.choice(own, size=len(group) - len(own), p=chance)
        therapist[random.permutation(group)] = np.concatenate([own, others])
    return therapist


def draw_patients(
    random: np.random.Generator, patients: int, inputs: SimulationInputs
) -> tuple[Floats, NDArray[np.object_]]:
    """Age in whole years and sex (F or M) of each patient, each of shape (patients,)."""
    given = inputs.patient
    age = given.age_mean.value + given.age_sd.value * random.standard_normal(patients)
    sex = np.where(random.random(patients) < given.men_share.value, "M", "F").astype(object)
    return np.maximum(np.rint(age), given.age_lowest.value), sex


def draw_alliance(
    random: np.random.Generator, therapist: Integers, therapists: int, inputs: SimulationInputs
) -> Floats:
    """Alliance total of each patient, shape (patients,): whole points, held at the ceiling."""
    given = inputs.alliance
    share = given.therapist_share.value
    between = math.sqrt(share) * random.standard_normal(therapists)
    within = math.sqrt(1 - share) * random.standard_normal(len(therapist))
    total = given.mean + given.sd * (between[therapist] + within)
    return np.clip(np.rint(total), given.lowest, given.highest)


def equicorrelated(
    random: np.random.Generator, rows: int, columns: int, correlation: float
) -> Floats:
    """Draw standard normal scores, shape (rows, columns), with one correlation throughout."""
    shared = math.sqrt(correlation) * random.standard_normal((rows, 1))
    return shared + math.sqrt(1 - correlation) * random.standard_normal((rows, columns))


def draw_effects(
    random: np.random.Generator,
    therapists: int,
    parameters: Mapping[str, OutcomeTruth],
    direction: Floats,
    inputs: SimulationInputs,
) -> dict[str, tuple[Floats, Floats]]:
    """Effects of each therapist on intercept and slope, by outcome, each of shape (therapists,).

    `direction` holds 1 for each outcome that is better when higher, -1 for the others.
    """
    common = inputs.correlation.therapist.value
    for_intercept = equicorrelated(random, therapists, len(parameters), common)
    for_slope = equicorrelated(random, therapists, len(parameters), common)
    effects = {}
    for position, (name, true) in enumerate(parameters.items()):
        rho = true.therapist_correlation
        intercept = direction[position] * for_intercept[:, position]
        slope = (
            rho * intercept + direction[position] * math.sqrt(1 - rho**2) * for_slope[:, position]
        )
        effects[name] = (true.therapist_sd * intercept, true.therapist_slope_sd * slope)
    return effects


def record_scores(scores: Floats, resolution: float, limits: tuple[float, float] | None) -> Floats:
    """Scores as a form holds them: rounded to its resolution within its limits.

    Without limits the scores stay as they are.
    """
    if limits is None:
        return scores
    # The second rounding takes away binary tails such as 0.30000000000000004.
    rounded = np.round(np.rint(scores / resolution) * resolution, 10)
    return np.clip(rounded, *limits) + 0.0  # turns -0.0 into 0.0


def who_rates(
    random: np.random.Generator, arm: Integers, baseline: Floats, inputs: SimulationInputs
) -> Flags:
    """Whether each patient rated the alliance, shape (patients,); the number is exact.

    The patients with the largest sums of log odds and a standard logistic deviate rate: given the
    threshold that fixes the number, each rates independently with those log odds.
    """
    given, function = inputs.rating, inputs.outcomes["function"]
    if function.baseline_mean is None or function.baseline_sd is None:
        raise TypeError("inputs without a baseline of function do not pass their validation")
    standardised = (baseline - function.baseline_mean.value) / function.baseline_sd.value
    log_odds = np.array([given.arm[code].value for code in ARMS])[arm]
    log_odds = log_odds + given.per_sd_of_baseline_function.value * standardised
    share = inputs.trial.rated.value / inputs.trial.patients.value
    return _largest(log_odds + random.logistic(size=len(arm)), round(share * len(arm)))


def who_is_seen_again(
    random: np.random.Generator, patients: int, inputs: SimulationInputs
) -> Flags:
    """Whether each patient has a follow-up, shape (patients,); the number is exact."""
    return _largest(random.random(patients), round(inputs.trial.followup_share.value * patients))


def _largest(keys: Floats, count: int) -> Flags:
    """Return flags of the `count` largest keys."""
    chosen = np.zeros(len(keys), dtype=bool)
    chosen[np.argpartition(-keys, count - 1)[:count]] = True
    return chosen
