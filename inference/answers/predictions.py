"""Posterior predictions for patients asked about: expected scores, single outcomes, chances.

Everything is computed from saved draws with NumPy, a block of patients at a time. Two arms for the
same patient have the same therapist effects and the same residual rank
(`inference.scores.single_scores`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError
from alliance.data_prep.levels import code_names, names_among
from alliance.inference.draws.datatree import predictions_tree
from alliance.inference.draws.summaries import described, tails
from alliance.inference.patients.asked_patients import (
    IN_CLINIC,
    NO_THERAPIST,
    AskedPatients,
    choose_therapist,
    chosen_arms,
    in_clinic,
    patient_grid,
    therapist_labels,
)
from alliance.inference.posterior import Posterior, Rows, refuse_rows
from alliance.inference.ranges import beyond
from alliance.inference.scores.questions import Question, expected_scores
from alliance.inference.scores.single_scores import (
    NOTHING_COUNTED,
    STEP_ROUNDING,
    ChanceWords,
    ScoreSteps,
    chances_in_words,
    residual_draws,
    score_steps,
    scores_at,
)
from alliance.inference.scores.therapist_parts import TherapistChoice, therapist_part
from alliance.inference.scores.thresholds import Thresholds
from alliance.models.design.design import Design
from alliance.models.design.encoding import arm_pairs

Array = NDArray[np.float64]

# Columns of the tables of predictions that are no covariate's.
OWN_COLUMNS = (
    *("outcome", "patient", "arm", "contrast", "moderator", "baseline", "therapist"),
    *("extrapolated", "expected", "expected_sd", "expected_lower", "expected_upper"),
    *("outcome_sd", "outcome_lower", "outcome_upper", "at_least", "prob_at_least", "at_most"),
    *("prob_at_most", "change", "prob_change", "prob_positive", "prob_better"),
    *("prob_outcome_better", "better_by", "prob_better_by", "prob_outcome_better_by"),
)


@dataclass(frozen=True, eq=False, slots=True)
class Predictions:
    """Answers to one question about one outcome.

    Attributes
    ----------
    outcome : str
    interval : float
        Probability of the equal-tailed intervals.
    table : pandas.DataFrame
        One row for each patient in each arm asked about: ``outcome, patient, arm``,
        ``moderator`` (of a study that has one), ``baseline`` (where the outcome has one), the
        covariates, ``therapist, extrapolated``;
        ``expected`` with ``expected_sd, expected_lower, expected_upper`` (the expected score);
        ``outcome_sd, outcome_lower, outcome_upper`` (a single patient's outcome); for each
        threshold its value and its chance, as ``at_least, prob_at_least``.
    contrasts : pandas.DataFrame or None
        As `arm_differences` gives them, if they were asked for.
    draws : xarray.Dataset or None
        ``expected`` and ``outcome`` over chain, draw, row, on the outcome's own scale; None if
        they were not to be kept.
    asked : xarray.Dataset
        What the rows are, over row: ``patient, arm, moderator, baseline, covariates, therapist,
        extrapolated``.
    counted : ChanceWords
        What chances of scores count, and at which ends they are off; empty where none are told.
    exposure : float or None
        That counts are predicted for; None is one unit.
    """

    outcome: str
    interval: float
    table: pd.DataFrame
    contrasts: pd.DataFrame | None
    draws: xr.Dataset | None
    asked: xr.Dataset
    counted: ChanceWords = NOTHING_COUNTED
    exposure: float | None = None

    def tree(self) -> xr.DataTree:
        """The draws in ArviZ's groups ``predictions`` and ``predictions_constant_data``.

        Raises
        ------
        InputError
            If the draws were not kept.
        """
        if self.draws is None:
            raise InputError("The draws were not kept.", "Predict with keep_draws=True.")
        return predictions_tree(self.draws, self.asked)


def predict(
    posterior: Posterior,
    patients: AskedPatients | None = None,
    *,
    therapist: str | TherapistChoice | None = None,
    arms: Sequence[str] = (),
    thresholds: Thresholds | None = None,
    contrasts: bool = False,
    interval: float = 0.95,
    seed: int | None = None,
    keep_draws: bool = True,
    exposure: float | None = None,
    clinic: str | None = None,
) -> Predictions:
    """Predict one outcome of patients with saved draws.

    Parameters
    ----------
    posterior : Posterior
    patients : AskedPatients, optional
        A grid, a file's patients or the trial's; by default one patient at the analysed
        patients' means.
    therapist : str or TherapistChoice, optional
        As in `inference.patients.asked_patients.choose_therapist`. For ``new`` the expected score
        is that of one therapist drawn for each posterior draw, so that its interval holds the
        differences between therapists; see `inference.answers.averages` for the mean over
        therapists.
    arms : sequence of str, optional
        Codes of the arms in which every patient is imagined; by default a patient's own, and all
        of them where patients come without.
    thresholds : Thresholds, optional
    contrasts : bool
        Also compare all pairs of these arms (of all arms, if none are named), for the same
        patient: the same therapist effects, and the same residual rank
        (`inference.scores.single_scores`).
    interval : float
    seed : int, optional
        Of new therapists and single outcomes; that of the run by default.
    keep_draws : bool
        Keep the draws beside the tables.
    exposure : float, optional
        Of a count: the exposure that events are predicted for; one unit by default.
    clinic : str, optional
        As in `inference.patients.asked_patients.in_clinic`.

    Returns
    -------
    Predictions

    Raises
    ------
    InputError
        If an arm or a therapist does not exist, a threshold lies outside the scale, a patient's
        alliance is missing, or the interval's probability is not between 0 and 1.
    """
    tails(interval)
    design = posterior.design
    asked = patient_grid(posterior) if patients is None else patients
    wanted = Thresholds() if thresholds is None else thresholds
    wanted.require(posterior.name, posterior.outcome)
    if posterior.rowless and wanted.of_scores:
        raise refuse_rows()  # of whose scores it is told how they are recorded
    require_exposure(posterior, exposure)
    choice = in_clinic(design, choose_therapist(design, asked, therapist), clinic)
    generator = posterior.generator("predictions", seed)
    part = therapist_part(posterior, choice, len(asked), generator)
    chosen = None
    if arms or contrasts or not asked.own_arm:
        chosen = chosen_arms(posterior, arms, compared=contrasts)
    _require_fitting(asked, design, chosen)
    question = Question(posterior, asked.rows, chosen, therapists=(part,), exposure=exposure)
    steps, times = score_steps(posterior), question.places
    names = names_among(design.arms, chosen or ())
    parts, differences = [], []
    room = (posterior.total, len(asked) * times if keep_draws else 0)
    kept = {"expected": np.empty(room), "outcome": np.empty(room)}
    for block in question.blocks():
        eta = block.eta
        expected = expected_scores(posterior, eta)
        shape = (posterior.total, len(block.rows) // times)
        auxiliary = posterior.parameters_in(block.rows.arm_index)
        residual = residual_draws(design, auxiliary, shape, generator)
        residual = np.repeat(residual, times, axis=1)
        scores = scores_at(design, auxiliary, eta, residual)
        columns = described(expected, interval, "expected") | described(scores, interval, "outcome")
        del columns["outcome"]  # the mean of single outcomes is the expected score
        for name, chance in wanted.chances(posterior, eta, block.rows, steps).items():
            threshold = name.removeprefix("prob_")
            columns |= {threshold: wanted.scores[threshold], name: chance.mean(axis=0)}
        parts.append(pd.DataFrame(columns))
        if contrasts:
            differences.append(
                arm_differences(
                    expected.reshape(*shape, times),
                    scores.reshape(*shape, times),
                    steps,
                    names,
                    direction=posterior.direction,
                    by=wanted.better_by,
                    interval=interval,
                )
            )
        if keep_draws:
            some = slice(block.some.start * times, block.some.stop * times)
            kept["expected"][:, some], kept["outcome"][:, some] = expected, scores
    labels = therapist_labels(choice, len(asked))
    if clinic is not None:
        labels = [f"{label}{IN_CLINIC}{clinic}" for label in labels]
    facts = _row_facts(design, asked, question.rows, times, labels)
    head = _row_head(design, facts)
    return Predictions(
        outcome=posterior.name,
        interval=interval,
        table=pd.concat([head, pd.concat(parts, ignore_index=True)], axis=1),
        contrasts=_contrast_table(head, differences, times) if contrasts else None,
        draws=row_draws(posterior, kept) if keep_draws else None,
        asked=facts,
        counted=chances_in_words(posterior) if wanted.of_scores else NOTHING_COUNTED,
        exposure=exposure,
    )


def require_exposure(posterior: Posterior, exposure: float | None) -> None:
    """Refuse an exposure where the outcome has none, and one that is none.

    Parameters
    ----------
    posterior : Posterior
    exposure : float, optional

    Raises
    ------
    InputError
    """
    if exposure is None:
        return
    if posterior.outcome.exposure is None:
        raise InputError(
            f"The outcome {posterior.name} has no exposure.",
            "Leave `exposure` out; counts have one where the study file names its column.",
        )
    if not (math.isfinite(exposure) and exposure > 0):
        raise InputError(
            f"An exposure of {exposure:g} {posterior.outcome.exposure} is none.",
            "Give a number above zero.",
        )


def row_draws(posterior: Posterior, draws: Mapping[str, Array]) -> xr.Dataset:
    """Draws (d, r) of rows by name, over chain, draw and row."""
    rows = next(iter(draws.values())).shape[1]
    return xr.Dataset(
        {
            name: (("chain", "draw", "row"), values.reshape(*posterior.shape, rows))
            for name, values in draws.items()
        },
        coords={
            "chain": posterior.draws["chain"].values,
            "draw": posterior.draws["draw"].values,
            "row": np.arange(rows),
        },
    )


def arm_differences(
    expected: Array,
    scores: Array,
    steps: ScoreSteps,
    names: Mapping[tuple[int, int], str],
    *,
    direction: int,
    by: float | None,
    interval: float,
) -> pd.DataFrame:
    """Differences between all pairs of arms, for each patient.

    Parameters
    ----------
    expected, scores : ndarray, shape (d, n, K)
        Expected scores and single outcomes of n patients in K arms.
    steps : ScoreSteps
        Chances of the patient's outcomes count scores as they are recorded.
    names : mapping of (int, int) to str
        Of the contrasts, by the positions of their arms among the K.
    direction : int
        1 where a higher score is better, -1 where a lower one is.
    by : float or None
        A difference in the direction of benefit whose chance is wanted.
    interval : float

    Returns
    -------
    pandas.DataFrame
        Patient after patient, pairs as in `models.design.design.arm_pairs`, later arm minus
        earlier: ``contrast`` (``MCE-GE``); ``expected`` with ``expected_sd, expected_lower,
        expected_upper``, ``prob_positive`` and ``prob_better`` (difference of expected scores);
        ``outcome_lower, outcome_upper`` and ``prob_outcome_better`` (difference of the patient's
        outcomes, and the chance that the later arm's is better: a tie is not); with `by` also
        ``better_by, prob_better_by, prob_outcome_better_by``.
    """
    recorded = steps.recorded(scores)
    slack = STEP_ROUNDING * steps.step
    found: list[pd.DataFrame] = []
    for later, earlier in arm_pairs(expected.shape[-1]):
        mean, single, told = (
            each[..., later] - each[..., earlier] for each in (expected, scores, recorded)
        )
        outcome = described(single, interval, "outcome")
        columns: dict[str, Any] = {
            "contrast": names[later, earlier],
            **described(mean, interval, "expected"),
            "prob_positive": (mean > 0).mean(axis=0),
            "prob_better": (direction * mean > 0).mean(axis=0),
            "outcome_lower": outcome["outcome_lower"],
            "outcome_upper": outcome["outcome_upper"],
            "prob_outcome_better": (direction * told > slack).mean(axis=0),
        }
        if by is not None:
            columns |= {
                "better_by": by,
                "prob_better_by": (direction * mean >= by).mean(axis=0),
                "prob_outcome_better_by": (direction * told >= by - slack).mean(axis=0),
            }
        found.append(pd.DataFrame(columns))
    table = pd.concat(found, keys=range(len(found)), names=["pair", "patient"])
    return table.sort_index(level=["patient", "pair"]).reset_index(drop=True)


def covariate_heads(design: Design) -> tuple[str, ...]:
    """Columns of the tables that hold the covariates: in quotes where one is named like another
    column.
    """
    return code_names(design.covariates, OWN_COLUMNS)


def unseen_columns(design: Design, table: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Columns of a table with values outside their range among the analysed patients.

    Parameters
    ----------
    design : Design
    table : pandas.DataFrame
        Of predictions, or of averages.

    Returns
    -------
    dict of str to tuple of float
        The range, by column.
    """
    seen = design.encoding.observed
    if seen is None:
        return {}
    ranges = {} if seen.moderator is None else {"moderator": seen.moderator}
    if seen.baseline is not None:
        ranges["baseline"] = seen.baseline
    for k, head in enumerate(covariate_heads(design)):
        if design.encoding.columns[k].level is None:
            ranges[head] = seen.covariates[k]
    return {
        name: ends
        for name, ends in ranges.items()
        if name in table and beyond(table[name].to_numpy(dtype=float), ends).any()
    }


def _row_facts(
    design: Design, patients: AskedPatients, rows: Rows, times: int, therapists: list[str]
) -> xr.Dataset:
    """What each row is."""
    repeated = {
        "patient": np.repeat(np.array(patients.names, dtype=str), times),
        "arm": np.array(design.arms, dtype=str)[rows.arm_index],
        "moderator": rows.moderator,
        "therapist": np.where(
            design.nesting.has_therapist(rows.arm_index),
            np.repeat(np.array(therapists, dtype=object), times),
            NO_THERAPIST,
        ).astype(str),
        "extrapolated": np.repeat(patients.extrapolated, times),
    }
    if design.has_baseline and rows.baseline is not None:
        repeated["baseline"] = rows.baseline
    found = xr.Dataset({name: ("row", values) for name, values in repeated.items()})
    found["covariates"] = (("row", "covariate"), rows.covariates)
    return found.assign_coords(
        row=np.arange(len(rows)), covariate=np.array(design.covariates, dtype=str)
    ).assign_attrs(outcome=design.outcome)


def _row_head(design: Design, facts: xr.Dataset) -> pd.DataFrame:
    """The columns that say what a row is."""
    baseline = ["baseline"] if "baseline" in facts else []
    columns = {"outcome": np.full(facts.sizes["row"], design.outcome)}
    moderator = ["moderator"] if design.has_moderator else []
    whose = ("patient", "arm", *moderator, *baseline)
    columns |= {name: facts[name].values for name in whose}
    for k, name in enumerate(covariate_heads(design)):
        if k not in design.encoding.absent:
            columns[name] = facts["covariates"].values[:, k]
    columns |= {name: facts[name].values for name in ("therapist", "extrapolated")}
    return pd.DataFrame(columns)


def _contrast_table(
    head: pd.DataFrame, differences: Sequence[pd.DataFrame], times: int
) -> pd.DataFrame:
    """Differences between arms behind the columns that say whose they are."""
    found = pd.concat(differences, ignore_index=True)
    pairs = len(list(combinations(range(times), 2)))
    whose = head.drop(columns="arm").iloc[::times]
    whose = whose.loc[whose.index.repeat(pairs)].reset_index(drop=True)
    whose.insert(2, "contrast", found.pop("contrast"))
    return pd.concat([whose, found], axis=1)


def _require_fitting(
    patients: AskedPatients, design: Design, chosen: tuple[int, ...] | None
) -> None:
    if patients.outcome != design.outcome:
        raise InputError(
            f"The patients were described for {patients.outcome}, not for {design.outcome}.",
            "Describe them again: baselines and observed ranges differ between outcomes.",
        )
    moderated = design.encoding.moderated
    needed = np.isin(patients.rows.arm_index, moderated)
    if chosen is not None:
        needed = np.full(len(patients), bool(set(chosen) & set(moderated)))
    missing = np.flatnonzero(needed & np.isnan(patients.rows.moderator))
    if len(missing):
        raise InputError(
            f"The alliance of {len(missing)} patients is missing (first: patient "
            f"{patients.names[missing[0]]}).",
            "Name values with `alliance`, or average over the trial's patients.",
        )
