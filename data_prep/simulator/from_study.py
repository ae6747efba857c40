"""A simulated trial of the design that a study file describes, with the true values that made it.

Its patients are those of `data_prep.simulator.inputs.imagined_patients`: arms with or without
therapists, clinics, a moderator in the arms that have one, covariates. Outcomes follow the study's
families: with z standardised values, and t and c the standard normal deviations of therapist and
clinic,

    predictor = 0.5 z(baseline) + arm + 0.25 z(moderator) + 0.1 sum z(covariates) + 0.25 t + 0.25 c,

of Gaussian and other scores in a sixth of the range, with residuals of 0.8 of these; of events on
the log odds, of counts on the log rate with an overdispersion of 0.5. Arms lie 0.3 apart, the later
ones better.

An outcome over time has one predictor at all visits, and residuals with a correlation of 0.6
between neighbouring visits, of 0.36 over two steps and so on. Patients leave for good from the
second visit on, of all outcomes at once, the likelier the worse the last score of the first outcome
over time: missing at random given the visits seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError
from alliance.data_prep.simulator.inputs import EVENTS, SDS_IN_RANGE, imagined_patients
from alliance.data_prep.simulator.leaving import autoregressive, who_left
from alliance.data_prep.simulator.simulation import Simulated
from alliance.data_prep.study.description import Study
from alliance.data_prep.study.parts import Moderator, Outcome
from alliance.data_prep.study.rules import BINARY, COUNT
from alliance.data_prep.study.visits import long_column

type Floats = NDArray[np.float64]

TRUTH = {
    "baseline_slope": 0.5,
    "moderator_slope": 0.25,
    "covariate_slope": 0.1,
    "arm_step": 0.3,
    "therapist_sd": 0.25,
    "clinic_sd": 0.25,
    "residual_sd": 0.8,
    "overdispersion": 0.5,
    "visit_correlation": 0.6,
}
LEAVING = 0.25  # of the patients, before the last visit
EVENT_SHARE = 0.4  # of patients of the first arm, before anything else
MOST_IN_RANGE = 0.5  # of a count's range, where its mean may lie


def simulate_study(
    study: Study,
    *,
    seed: int,
    patients: int = 240,
    therapists: int = 12,
    nested: bool = False,
    leaving: float | None = None,
) -> Simulated:
    """Simulate a trial as a study describes it.

    Parameters
    ----------
    study : Study
    seed : int
        Not negative; the same seed and settings give the same trial.
    patients, therapists : int
        Clinics, where the study has them, are a third as many as therapists, three at least.
    nested : bool
        Whether each therapist treats in one arm only.
    leaving : float, optional
        Of outcomes over time, the share of patients who leave before the last visit; by default a
        quarter.

    Returns
    -------
    Simulated
        Its truth is on the scales that the module names. Where the study's table has a row for each
        visit the frame has, too: of the visits that were seen.

    Raises
    ------
    InputError
        If the numbers do not suit the arms, or patients are to leave and no outcome has visits.
    """
    if seed < 0:
        raise InputError(f"The seed {seed} is negative.", "Give 0 or a positive whole number.")
    visited = any(outcome.visit_of is not None for outcome in study.outcomes.values())
    if leaving is not None and not visited:
        raise InputError(
            "No outcome of the study has visits that patients could leave before.",
            "Leave `leaving` out.",
        )
    share = LEAVING if leaving is None else leaving
    if not 0 <= share < 1:
        raise InputError(f"A share of {share:g} cannot leave.", "Give 0 or more, and less than 1.")
    streams = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(3))
    of_patients, of_effects, of_outcomes = streams
    made = imagined_patients(study, patients, therapists, of_patients, nested=nested)
    arm, n = made["arm_index"].to_numpy(), made.sizes["patient"]
    columns: dict[str, Any] = {}
    ids = study.columns
    if ids.patient is not None:
        columns[ids.patient] = [f"P{k + 1:03d}" for k in range(n)]
    for role, column in (("therapist", ids.therapist), ("clinic", ids.clinic)):
        if column is not None and f"{role}_index" in made:
            names = np.array([*made[role].to_numpy().tolist(), None], dtype=object)
            columns[column] = names[made[f"{role}_index"].to_numpy()]
    columns[ids.arm] = made["arm"].to_numpy()[arm]
    if study.moderator is not None:
        columns |= _moderator(study.moderator, made["moderator"].to_numpy(), of_patients)
    for k, name in enumerate(study.covariates):
        columns[name] = _covariate(study, name, made["covariates"].to_numpy()[:, k])
    effects: dict[str, Any] = {}
    over_time: dict[str, list[str]] = {}
    for name, outcome in study.outcomes.items():
        if outcome.visit_of is not None:
            over_time.setdefault(outcome.visit_of, []).append(name)
            continue
        columns[outcome.followup], effects[name] = _outcome(
            study, name, made, of_effects, of_outcomes
        )
        columns |= _before(outcome, name, made)
    left: NDArray[np.bool_] | None = None
    for whole, visits in over_time.items():
        first = study.outcomes[visits[0]]
        predictor, effects[whole] = _predictor(study, visits[0], made, of_effects)
        scores = _at_visits(first, predictor, len(visits), of_outcomes)
        if left is None:
            left = who_left(-scores if first.better == "higher" else scores, share, of_outcomes)
        for visit, name in enumerate(visits):
            gone = left[:, min(visit, left.shape[1] - 1)]
            columns[study.outcomes[name].followup] = np.where(gone, np.nan, scores[:, visit])
        columns |= _before(first, visits[0], made)
    truth = {
        "simulated": True,
        "settings": {"seed": seed, "patients": patients, "therapists": therapists,
                     "nested": nested} | ({"leaving": share} if visited else {}),
        "scale": "standardised: see `alliance.data_prep.simulator.from_study`",
        "parameters": TRUTH,
        "outcomes": effects,
    }  # fmt: skip
    described = study.model_copy(update={"simulated": True})
    frame = pd.DataFrame(columns)
    return Simulated(frame if study.visits is None else _long(frame, study), described, truth, None)


def _before(outcome: Outcome, name: str, made: xr.Dataset) -> dict[str, Floats]:
    """Columns of the baseline and the exposure, where the outcome has them."""
    found = {}
    if outcome.baseline is not None:
        found[outcome.baseline] = np.round(made[f"{name}_baseline"].to_numpy())
    if outcome.exposure is not None:
        found[outcome.exposure] = np.round(made[f"{name}_exposure"].to_numpy(), 2)
    return found


def _moderator(
    moderator: Moderator, values: Floats, random: np.random.Generator
) -> dict[str, Floats]:
    """The moderator's column, or its items: each near its share of the total."""
    if moderator.column is not None:
        return {moderator.column: np.round(values)}
    assert moderator.item_range is not None  # a moderator has a column, or items with a range
    low, high = moderator.item_range
    share = (values - moderator.range[0]) / (moderator.range[1] - moderator.range[0])
    found = {}
    for item in moderator.items:
        level = low + (high - low) * share + 0.5 * random.standard_normal(len(values))
        answer = np.clip(np.round(level), low, high)
        found[item] = low + high - answer if item in moderator.reverse else answer
    return found


def _covariate(study: Study, name: str, standard: Floats) -> Any:
    """A number, or one of two levels of what the study declares a category."""
    kind = study.covariate_kinds.get(name)
    if kind != "categorical" and name not in study.reference:
        return np.round(standard, 3)
    first = study.reference.get(name, "A")
    return np.where(standard > 0, "B" if first != "B" else "C", first)


def _outcome(
    study: Study,
    name: str,
    made: xr.Dataset,
    of_effects: np.random.Generator,
    of_outcomes: np.random.Generator,
) -> tuple[Any, dict[str, dict[str, float]]]:
    """Scores as the file has them, and the realised effects of therapists and clinics."""
    outcome, n = study.outcomes[name], made.sizes["patient"]
    predictor, realised = _predictor(study, name, made, of_effects)
    if outcome.family == BINARY:
        log_odds = np.log(EVENT_SHARE / (1 - EVENT_SHARE)) + predictor
        happened = of_outcomes.random(n) < 1 / (1 + np.exp(-log_odds))
        return _events(outcome, happened), realised
    if outcome.family == COUNT:
        exposure = np.ones(n)
        if outcome.exposure is not None:
            exposure = np.round(made[f"{name}_exposure"].to_numpy(), 2)
        high = outcome.range[1]
        mean = min(EVENTS, MOST_IN_RANGE * high) * np.exp(predictor) * exposure
        shape = TRUTH["overdispersion"] ** -2
        rate = mean * of_outcomes.gamma(shape, 1 / shape, n)
        return np.minimum(of_outcomes.poisson(rate), high), realised
    return _scores(outcome, predictor, of_outcomes.standard_normal(n)), realised


def _scores(outcome: Outcome, predictor: Floats, residual: Floats) -> Floats:
    """Scores in whole points of the range."""
    low, high = outcome.range
    unit, centre = (high - low) / SDS_IN_RANGE, (low + high) / 2
    scores = centre + unit * (predictor + TRUTH["residual_sd"] * residual)
    return np.clip(np.round(scores), low, high)


def _at_visits(
    outcome: Outcome, predictor: Floats, visits: int, random: np.random.Generator
) -> Floats:
    """Scores (patients, visits); a residual is like the one before, as far as they correlate."""
    residual = autoregressive(random, len(predictor), visits, TRUTH["visit_correlation"])
    return _scores(outcome, predictor[:, None], residual)


def _long(frame: pd.DataFrame, study: Study) -> pd.DataFrame:
    """A row for each patient and visit that was seen, patient by patient."""
    table = study.visits
    assert table is not None
    at = {name: own for name, own in study.outcomes.items() if own.visit is not None}
    rest = [name for name in frame if name not in {own.followup for own in at.values()}]
    parts = []
    for visit in table.order:
        own = {
            outcome.followup: outcome.followup.removesuffix(long_column("", visit))
            for outcome in at.values()
            if outcome.visit == visit
        }
        part = frame[rest].assign(**{table.column: visit})
        parts.append(pd.concat([part, frame[list(own)].rename(columns=own)], axis=1))
        parts[-1] = parts[-1].dropna(subset=list(own.values()), how="all")
    return pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)


def _predictor(
    study: Study, name: str, made: xr.Dataset, of_effects: np.random.Generator
) -> tuple[Floats, dict[str, dict[str, float]]]:
    """The predictor of each patient, and the realised effects of therapists and clinics."""
    outcome = study.outcomes[name]
    gain = 1.0 if outcome.better == "higher" else -1.0
    predictor = gain * TRUTH["arm_step"] * made["arm_index"].to_numpy()
    if study.moderator is not None:
        rating = made["moderator"].to_numpy()
        z = (rating - np.mean(study.moderator.range)) * SDS_IN_RANGE / np.ptp(study.moderator.range)
        predictor = predictor + gain * TRUTH["moderator_slope"] * np.nan_to_num(z)
    predictor = predictor + TRUTH["covariate_slope"] * made["covariates"].to_numpy().sum(axis=1)
    low, high = outcome.range
    unit, centre = (high - low) / SDS_IN_RANGE, (low + high) / 2
    if outcome.baseline is not None:
        z = (np.round(made[f"{name}_baseline"].to_numpy()) - centre) / unit
        predictor = predictor + TRUTH["baseline_slope"] * z
    realised: dict[str, dict[str, float]] = {}
    for role in ("therapist", "clinic"):
        if f"{role}_index" not in made or not made.sizes[role]:
            continue
        deviation = TRUTH[f"{role}_sd"] * of_effects.standard_normal(made.sizes[role])
        realised[role] = dict(zip(made[role].to_numpy().tolist(), deviation.tolist(), strict=True))
        predictor = predictor + np.append(deviation, 0.0)[made[f"{role}_index"].to_numpy()]
    return predictor, realised


def _events(outcome: Outcome, happened: NDArray[np.bool_]) -> Any:
    """What the column says where the event happened, and where it did not."""
    if outcome.event is None:
        return happened.astype(float)
    other = {"1": "0", "0": "1", "yes": "no", "no": "yes"}.get(str(outcome.event), "no")
    return np.where(happened, str(outcome.event), other)
