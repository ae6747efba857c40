"""Posterior predictions for patients asked about: expected scores, single outcomes, chances.

Everything is computed from saved draws with NumPy, a block of patients at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError
from alliance.data_prep.levels import names_among
from alliance.inference.answers.arm_differences import arm_differences
from alliance.inference.answers.prediction_tables import (
    Block,
    KeptDraws,
    contrast_table,
    require_interval,
    row_facts,
    row_head,
    summaries,
)
from alliance.inference.answers.score_ends import NOTHING_COUNTED, ChanceWords, chances_in_words
from alliance.inference.answers.score_steps import score_steps
from alliance.inference.draws.datatree import posterior, predictions_tree
from alliance.inference.patients.asked_patients import (
    AskedPatients,
    choose_therapist,
    chosen_arms,
    patient_grid,
    require_outcome,
    therapist_labels,
)
from alliance.inference.runs.fit import Fit
from alliance.inference.sampling.profiles import seed_sequence
from alliance.inference.scores.expected_scores import BLOCK_NUMBERS
from alliance.inference.scores.predictor import (
    Rows,
    TherapistChoice,
    TherapistPart,
    expected_scores,
    linear_predictor,
    link_scale,
    therapist_part,
)
from alliance.inference.scores.residuals import family_parameters, residual_draws, scores_at
from alliance.inference.scores.score_thresholds import Thresholds
from alliance.models.design.design import Design

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Predictions:
    """Answers to one query about one outcome.

    Attributes
    ----------
    outcome : str
    interval : float
        Probability of the equal-tailed intervals.
    table : pandas.DataFrame
        One row for each patient in each arm asked about: ``outcome, patient, arm, moderator``,
        ``baseline`` (where the outcome has one), the covariates, ``therapist, extrapolated``;
        ``expected`` with ``expected_sd, expected_lower, expected_upper`` (the expected score);
        ``outcome_sd, outcome_lower, outcome_upper`` (a single patient's outcome); for each
        threshold its value and its chance, as ``at_least, prob_at_least``.
    contrasts : pandas.DataFrame or None
        As `inference.answers.arm_differences.arm_differences` gives them, if they were asked for.
    draws : xarray.Dataset or None
        ``expected`` and ``outcome`` over chain, draw, row, on the outcome's own scale; None if
        they were not to be kept.
    asked : xarray.Dataset
        What the rows are, over row: ``patient, arm, moderator, baseline, covariates, therapist,
        extrapolated``.
    counted : ChanceWords
        What chances of scores count, and at which ends they are off; empty where none are told.
    """

    outcome: str
    interval: float
    table: pd.DataFrame
    contrasts: pd.DataFrame | None
    draws: xr.Dataset | None
    asked: xr.Dataset
    counted: ChanceWords = NOTHING_COUNTED

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


@dataclass(frozen=True, eq=False)
class _Query:
    """What the blocks share."""

    design: Design
    draws: xr.Dataset
    patients: AskedPatients
    arms: tuple[int, ...] | None  # None: each patient's own
    therapists: TherapistPart | None
    generator: np.random.Generator
    auxiliary: dict[str, Array]
    total: int = field(init=False)

    def __post_init__(self) -> None:
        total = self.draws.sizes["chain"] * self.draws.sizes["draw"]
        object.__setattr__(self, "total", total)

    @property
    def arms_each(self) -> int:
        return 1 if self.arms is None else len(self.arms)

    def crossed(self, some: slice) -> Rows:
        """Some of the patients, each in every arm."""
        rows = self.patients.rows.block(some)
        if self.arms is None:
            return rows
        arm_index = np.tile(np.array(self.arms, dtype=np.int64), len(rows))
        return rows.repeated(len(self.arms), arm_index)

    def blocks(self) -> list[slice]:
        size = max(1, BLOCK_NUMBERS // (self.total * self.arms_each))
        return [slice(k, k + size) for k in range(0, len(self.patients), size)]

    def answer(self, some: slice) -> Block:
        rows, times = self.crossed(some), self.arms_each
        part = None if self.therapists is None else self.therapists.block(some).repeated(times)
        predictor = linear_predictor(self.design, self.draws, rows, part)
        eta = link_scale(self.design, predictor)
        shape = (self.total, len(rows) // times)
        residual = residual_draws(self.design, self.auxiliary, shape, self.generator)
        scores = scores_at(self.design, self.auxiliary, eta, np.repeat(residual, times, axis=1))
        return Block(rows, eta, expected_scores(self.design, self.draws, predictor), scores)


def predict(
    fit: Fit,
    outcome: str,
    patients: AskedPatients | None = None,
    *,
    therapist: str | TherapistChoice | None = None,
    arms: Sequence[str] = (),
    thresholds: Thresholds | None = None,
    contrasts: bool = False,
    interval: float = 0.95,
    seed: int | None = None,
    keep_draws: bool = True,
) -> Predictions:
    """Predict one outcome of patients with saved draws.

    Parameters
    ----------
    fit : Fit
    outcome : str
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
        (`inference.scores.residuals`).
    interval : float
    seed : int, optional
        Of new therapists and single outcomes; that of the run by default.
    keep_draws : bool
        Keep the draws beside the tables.

    Returns
    -------
    Predictions

    Raises
    ------
    InputError
        If the outcome, an arm or a therapist does not exist, a threshold lies outside the scale,
        a patient's alliance is missing, or the interval's probability is not between 0 and 1.
    """
    require_outcome(fit, outcome)
    require_interval(interval)
    asked = patient_grid(fit, outcome) if patients is None else patients
    _require_fitting(asked, outcome)
    wanted = Thresholds() if thresholds is None else thresholds
    described = fit.study.outcomes[outcome]
    wanted.require(outcome, described)
    design, draws = fit.design(outcome), posterior(fit.trees[outcome])
    choice = choose_therapist(design, asked, therapist)
    started = fit.manifest["seed"] if seed is None else seed
    generator = np.random.default_rng(seed_sequence(started, "predictions", outcome))
    part = therapist_part(design, draws, choice, len(asked), generator)
    chosen = None
    if arms or contrasts or not asked.own_arm:
        chosen = chosen_arms(design, arms, compared=contrasts)
    auxiliary = family_parameters(design, draws, fit.specs[outcome].priors)
    query = _Query(design, draws, asked, chosen, part, generator, auxiliary)
    rows, steps = query.crossed(slice(None)), score_steps(fit, outcome)
    kept = KeptDraws.empty(len(rows), draws) if keep_draws else None
    parts, differences, done = [], [], 0
    for some in query.blocks():
        block = query.answer(some)
        columns = summaries(block, interval)
        for name, chance in wanted.chances(
            design, auxiliary, block.eta, block.rows, described.better, steps
        ).items():
            columns |= {name: wanted.asked[name], f"prob_{name}": chance.mean(axis=0)}
        parts.append(pd.DataFrame(columns))
        if contrasts:
            differences.append(
                arm_differences(
                    block.expected.reshape(query.total, -1, query.arms_each),
                    block.scores.reshape(query.total, -1, query.arms_each),
                    steps,
                    names_among(design.arms, chosen or ()),
                    better=described.better,
                    by=wanted.better_by,
                    interval=interval,
                )
            )
        if kept is not None:
            kept.put(done, block)
        done += len(block.rows)
    labels = therapist_labels(choice, len(asked))
    facts = row_facts(design, asked, rows, query.arms_each, labels)
    return Predictions(
        outcome=outcome,
        interval=interval,
        table=pd.concat([row_head(design, facts), pd.concat(parts, ignore_index=True)], axis=1),
        contrasts=contrast_table(design, facts, differences, query.arms_each),
        draws=None if kept is None else kept.dataset(draws),
        asked=facts,
        counted=chances_in_words(fit, outcome) if wanted.of_scores else NOTHING_COUNTED,
    )


def _require_fitting(patients: AskedPatients, outcome: str) -> None:
    if patients.outcome != outcome:
        raise InputError(
            f"The patients were described for {patients.outcome}, not for {outcome}.",
            "Describe them again: baselines and observed ranges differ between outcomes.",
        )
    missing = np.flatnonzero(np.isnan(patients.rows.moderator))
    if len(missing):
        raise InputError(
            f"The alliance of {len(missing)} patients is missing (first: patient "
            f"{patients.names[missing[0]]}).",
            "Name values with `alliance`, or average over the trial's patients.",
        )
