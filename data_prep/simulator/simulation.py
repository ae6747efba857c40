"""A simulated trial like the published one, with the true values that made it.

The random parts of a simulated trial: allocation, alliance, scores, and who is missing.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError
from alliance.data_prep.files import AnyPath, as_path, list_files, require_own_files
from alliance.data_prep.partial_files import current_umask, write_partial
from alliance.data_prep.simulator.inputs import (
    ARMS,
    OutcomeTruth,
    SimulationInputs,
    Truth,
    checked_parameters,
    effects_by_id,
    read_inputs,
    true_values,
    truth_record,
)
from alliance.data_prep.study.description import (
    Study,
    bundled_studies,
    narrowed,
    read_study,
    study_text,
)

__all__ = [
    "OutcomeTruth",
    "Simulated",
    "SimulationInputs",
    "Truth",
    "read_inputs",
    "simulate_trial",
    "true_values",
    "write_simulated",
]


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


FEWEST_PATIENTS_PER_ARM = 4  # with the published share of ratings about three of them are rated
# Room on either side of an outcome's range, in widths of it, where scores are not held within it.
ROOM_BEYOND_RANGE = 10
COMPANIONS = ("study.toml", "truth.json", "simulation.toml", "published.toml")
# One stream of random numbers each, so that a change to one part leaves the others as they were.
STREAMS = (
    "arm",
    "therapist",
    "patient",
    "alliance",
    "baseline",
    "effect",
    "residual",
    "rating",
    "followup",
)


@dataclass(frozen=True)
class Simulated:
    """A simulated trial.

    Attributes
    ----------
    frame : DataFrame
        One row for each patient, in the columns that `study` names; NaN where missing.
    study : Study
        Its description, with `simulated = True`.
    truth : dict
        True values under the names of the tidy table, on each outcome's own scale, with the
        realised effects of the therapists, the alliance's population and the settings; JSON-able.
    inputs : SimulationInputs or None
        What a trial like the published one was made of; None of one like another study's.
    """

    frame: pd.DataFrame
    study: Study
    truth: dict[str, Any]
    inputs: SimulationInputs | None


def simulate_trial(
    *,
    seed: int,
    patients: int = 240,
    therapists: int = 12,
    inputs: SimulationInputs | None = None,
    crossed: bool = True,
    without_therapist: Sequence[str] = (),
    respect_ranges: bool = True,
    truth: Truth | None = None,
) -> Simulated:
    """Simulate a trial like that of Ferreira and colleagues (2013).

    Scores are rounded to the outcome's resolution and held within its range, as on a real form.
    Rounding and clipping pull expected scores inwards, so that on the outcome's scale the true
    values are then approximate; with `respect_ranges=False` they hold exactly.

    Parameters
    ----------
    seed : int
        Not negative; the same seed and settings give the same trial.
    patients, therapists : int
        Numbers of both; the shares of arms, ratings and follow-ups stay those of the inputs.
    inputs : SimulationInputs, optional
        By default the bundled ones.
    crossed : bool
        Whether each therapist treats in all arms; otherwise in one arm only.
    without_therapist : sequence of str
        Codes of arms whose patients have no therapist; the study says so too.
    respect_ranges : bool
        False gives continuous outcomes and baselines with exactly Gaussian residuals, and a study
        whose ranges are wide enough for them. The alliance keeps its ceiling.
    truth : mapping of str to OutcomeTruth, optional
        Other true parameters for the outcomes that it names. Where age has an effect, the study
        names it as a covariate.

    Returns
    -------
    Simulated

    Raises
    ------
    InputError
        If the seed, the numbers of patients and therapists, or a true parameter is impossible.
    """
    _check_settings(seed, patients, therapists, crossed)
    inputs = read_inputs() if inputs is None else inputs
    study = read_study(bundled_studies()["ferreira2013"])
    if without_therapist:
        study = narrowed(study, without_therapist=tuple(without_therapist))
    parameters = checked_parameters(study, inputs, truth)
    children = np.random.SeedSequence(seed).spawn(len(STREAMS))
    random = dict(zip(STREAMS, map(np.random.default_rng, children), strict=True))

    arm = allocate_arms(random["arm"], patients, inputs)
    therapist = allocate_therapists(random["therapist"], arm, therapists, crossed, inputs)
    treated = np.array([code not in study.model.without_therapist for code in ARMS])[arm]
    age, sex = draw_patients(random["patient"], patients, inputs)
    alliance = draw_alliance(random["alliance"], therapist, therapists, inputs)
    population = inputs.alliance.population()
    better = [study.outcomes[name].better for name in parameters]
    direction = np.where(np.array(better) == "higher", 1.0, -1.0)
    effects = draw_effects(random["effect"], therapists, parameters, direction, inputs)
    shape = (patients, len(parameters))
    correlation = inputs.correlation
    scores = direction * equicorrelated(random["baseline"], *shape, correlation.baseline.value)
    noise = direction * equicorrelated(random["residual"], *shape, correlation.residual.value)

    baselines: dict[str, Floats] = {}
    followups: dict[str, Floats] = {}
    for position, (name, true) in enumerate(parameters.items()):
        given, outcome = inputs.outcomes[name], study.outcomes[name]
        limits = outcome.range if respect_ranges else None
        expected = true.intercept + np.array([true.arm_effect[code] for code in ARMS])[arm]
        if outcome.baseline and given.baseline_mean and given.baseline_sd:
            centre, spread = given.baseline_mean.value, given.baseline_sd.value
            baseline = centre + spread * scores[:, position]
            baseline = record_scores(baseline, given.resolution.value, limits)
            expected += true.baseline_slope * (baseline - centre)
            baselines[outcome.baseline] = baseline
        on_intercept, on_slope = effects[name]
        slope = np.array([true.moderator_slope[code] for code in ARMS])[arm]
        slope = slope + np.where(treated, on_slope[therapist], 0.0)
        own = np.where(treated, on_intercept[therapist], 0.0)
        expected += slope * (alliance - population["mean"]) + own
        expected += true.covariate_slope * (age - inputs.patient.age_mean.value)
        followup = expected + true.residual_sd * noise[:, position]
        followups[outcome.followup] = record_scores(followup, given.resolution.value, limits)

    function_baseline = baselines[str(study.outcomes["function"].baseline)]
    rated = who_rates(random["rating"], arm, function_baseline, inputs)
    seen_again = who_is_seen_again(random["followup"], patients, inputs)
    therapist_ids = _identifiers("T", therapists, digits=2)
    frame = pd.DataFrame(
        {
            str(study.columns.patient): _identifiers("P", patients, digits=3),
            str(study.columns.therapist): np.where(
                treated,
                np.array(therapist_ids, dtype=object)[therapist],
                np.array(None, dtype=object),
            ),
            study.columns.arm: np.array(ARMS, dtype=object)[arm],
            "age": age,
            "sex": sex,
            str(study.measure.column): np.where(rated, alliance, np.nan),
            **baselines,
            **{name: np.where(seen_again, score, np.nan) for name, score in followups.items()},
        }
    )
    record = {
        "simulated": True,
        "settings": {
            "seed": seed,
            "patients": patients,
            "therapists": therapists,
            "crossed": crossed,
            **({"without_therapist": list(without_therapist)} if without_therapist else {}),
            "respect_ranges": respect_ranges,
        },
        "alliance": population,
        "outcomes": {
            name: truth_record(true, study.outcomes[name].baseline is not None, population["mean"])
            | {"therapist_effects": effects_by_id(therapist_ids, *effects[name])}
            for name, true in parameters.items()
        },
    }
    described = _describe(study, frame, inputs, parameters, respect_ranges)
    return Simulated(frame=frame, study=described, truth=record, inputs=inputs)


def _check_settings(seed: int, patients: int, therapists: int, crossed: bool) -> None:
    fewest = FEWEST_PATIENTS_PER_ARM * len(ARMS)
    if seed < 0:
        raise InputError(f"The seed {seed} is negative.", "Give 0 or a positive whole number.")
    if patients < fewest:
        raise InputError(
            f"{patients} patients are too few for a trial with {len(ARMS)} arms.",
            f"Ask for at least {fewest}.",
        )
    if therapists < 1:
        raise InputError(f"{therapists} therapists cannot treat anyone.", "Ask for at least 1.")
    if therapists > patients:
        raise InputError(
            f"{therapists} therapists are more than the {patients} patients.",
            "Ask for at most as many therapists as patients.",
        )
    # Nested therapists are dealt to the arms in turn: each arm needs one, and a patient for each.
    if not crossed and not len(ARMS) <= therapists <= patients - len(ARMS):
        raise InputError(
            f"{therapists} therapists cannot be nested in {len(ARMS)} arms of {patients} patients.",
            f"Ask for {len(ARMS)} to {patients - len(ARMS)} therapists, or for crossed ones.",
        )


def _identifiers(prefix: str, count: int, digits: int) -> list[str]:
    digits = max(digits, len(str(count)))
    return [f"{prefix}{number:0{digits}d}" for number in range(1, count + 1)]


def _describe(
    study: Study,
    frame: pd.DataFrame,
    inputs: SimulationInputs,
    parameters: dict[str, OutcomeTruth],
    respect_ranges: bool,
) -> Study:
    """Return the bundled study, changed to describe the simulated table."""
    changes: dict[str, Any] = study.model_dump()
    changes["simulated"] = True
    changes["moderator"]["range"] = (inputs.alliance.lowest, inputs.alliance.highest)
    if any(true.covariate_slope != 0 for true in parameters.values()):
        changes["covariates"] = ("age",)
    if not respect_ranges:
        for name, outcome in study.outcomes.items():
            columns = [outcome.followup] + ([outcome.baseline] if outcome.baseline else [])
            values = frame[columns].to_numpy()
            lowest, highest = outcome.range
            room = ROOM_BEYOND_RANGE * (highest - lowest)
            changes["outcomes"][name]["family"] = "gaussian"
            changes["outcomes"][name]["range"] = (
                min(lowest - room, math.floor(np.nanmin(values))),
                max(highest + room, math.ceil(np.nanmax(values))),
            )
    return Study.model_validate(changes)


# First lines of what is written: what it is, and what it is not.
SIMULATED_STUDY = (
    "# A SIMULATED trial, made by `alliance simulate`: no patient gave these data.\n"
    "# For data of your own `alliance init DATA` writes a study file."
)
SIMULATED_INPUTS = "# Inputs of a SIMULATED trial, made by `alliance simulate`, with their sources."


def write_simulated(
    simulated: Simulated, csv_path: AnyPath, *, overwrite: bool = False
) -> tuple[Path, ...]:
    """Write a simulated trial as CSV, with its description and its true values beside it.

    Beside the table stand `study.toml`, `truth.json`, `simulation.toml` (the inputs with their
    tags) and `published.toml`, and a list of all with their digests (`data_prep.files`). Each
    file is written under a temporary name and then renamed.

    Parameters
    ----------
    simulated : Simulated
        The trial.
    csv_path : str or path-like
        Where the table goes; its folder is made where needed.
    overwrite : bool
        Whether what was simulated there before may be replaced; other files never are.

    Returns
    -------
    tuple of Path
        The files written, the table last; the list is not among them.

    Raises
    ------
    InputError
        If the name does not end in .csv, a file exists already, or the folder is not writable.
    """
    csv_path = as_path(csv_path)
    if csv_path.suffix.lower() != ".csv":
        raise InputError(
            f"A simulated trial is written as CSV, but {csv_path} does not end in .csv.",
            "Give a name that ends in .csv.",
        )
    published = bundled_studies()["ferreira2013"].with_name("published.toml")
    texts = {
        "study.toml": f"{SIMULATED_STUDY}\n{study_text(simulated.study)}",
        "truth.json": json.dumps(simulated.truth, indent=2, allow_nan=False) + "\n",
    }
    if simulated.inputs is not None:
        texts |= {
            "simulation.toml": f"{SIMULATED_INPUTS}\n"
            + tomli_w.dumps(simulated.inputs.model_dump(exclude_none=True)),
            "published.toml": published.read_text(encoding="utf-8"),
        }
    texts[csv_path.name] = _whole_numbers(simulated.frame).to_csv(index=False)
    contents = {name: text.encode() for name, text in texts.items()}
    folder = csv_path.parent
    targets = tuple(folder / name for name in (*COMPANIONS, csv_path.name) if name in texts)
    require_own_files(folder, contents, overwrite=overwrite)
    partial: dict[Path, Path] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            for target in targets:
                partial[target] = write_partial(target, contents[target.name])
                partial[target].chmod(0o666 & ~current_umask())
            list_files(folder, contents)
            for target in targets:
                os.replace(partial[target], target)
        finally:
            for path in partial.values():
                path.unlink(missing_ok=True)
    except OSError as fault:
        raise InputError(
            f"The simulated trial cannot be written to {folder} ({fault}).",
            "Choose a folder that can be written to.",
        ) from fault
    return targets


def _whole_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns of whole numbers as such, so that the file says 92 and not 92.0."""
    numbers = frame.select_dtypes("number")
    whole = [name for name in numbers if (numbers[name].dropna() % 1 == 0).all()]
    return frame.astype(dict.fromkeys(whole, "Int64"))
