"""Averages that say over whom: over patients, and over therapists.

Three sets of patients answer three questions. The trial's patients
(`inference.patients.asked_patients.trial_patients`) give the mean of such a group; a reference grid
(`inference.patients.asked_patients.patient_grid` with values) weights its points alike; the grid's
default is one patient at the means. Where the link is curved these differ: the mean of expected
scores is not the expected score at the mean.

So do four sets of therapists. ``new`` is the mean over the distribution of therapists, integrated
for every posterior draw; ``known`` the mean over the trial's therapists, each counted once; ``own``
leaves the patients with theirs; ``average`` is a therapist whose effects are zero. A single new
therapist, whose deviation stays in the interval, is a matter of `inference.answers.predictions`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.levels import names_among
from alliance.inference.answers.predictions import row_draws
from alliance.inference.draws.quantiles import described, tails
from alliance.inference.patients.asked_patients import (
    AskedPatients,
    choose_therapist,
    chosen_arms,
    trial_patients,
)
from alliance.inference.posterior import Index, Posterior, Rows
from alliance.inference.scores.questions import Question, expected, own_alliance
from alliance.inference.scores.single_scores import (
    NOTHING_COUNTED,
    ChanceWords,
    chances_in_words,
    score_steps,
)
from alliance.inference.scores.therapist_parts import (
    TherapistChoice,
    TherapistPart,
    therapist_part,
)
from alliance.inference.scores.thresholds import Thresholds
from alliance.models.design.encoding import arm_pairs

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Averages:
    """Averages of one outcome over patients and therapists.

    Attributes
    ----------
    outcome : str
    interval : float
        Probability of the equal-tailed intervals.
    table : pandas.DataFrame
        One row for each arm, and for each alliance if that was named: ``outcome, arm, moderator``
        (missing where patients have their own), ``patients`` (how many are averaged over),
        ``therapist, extrapolated``; ``expected`` with ``expected_sd, expected_lower,
        expected_upper``; for each threshold its value and the share of patients who reach it, as
        ``at_least, prob_at_least, prob_at_least_lower, prob_at_least_upper``.
    contrasts : pandas.DataFrame
        The same for all pairs of these arms, later minus earlier, with ``contrast`` in place of
        ``arm``, and with ``prob_positive, prob_better``; with a difference that was named also
        ``better_by, prob_better_by``. Shares are then differences of shares.
    draws : xarray.Dataset
        ``expected`` and shares (``prob_at_least``) over chain, draw, row; the rows of `table`.
    counted : ChanceWords
        What chances of scores count, and at which ends they are off; empty where none are told.
    """

    outcome: str
    interval: float
    table: pd.DataFrame
    contrasts: pd.DataFrame
    draws: xr.Dataset
    counted: ChanceWords = NOTHING_COUNTED


def average(
    posterior: Posterior,
    patients: AskedPatients | None = None,
    *,
    therapist: str = "new",
    arms: Sequence[str] = (),
    thresholds: Thresholds | None = None,
    interval: float = 0.95,
) -> Averages:
    """Average expected scores, and chances of reaching thresholds, over patients and therapists.

    Parameters
    ----------
    posterior : Posterior
    patients : AskedPatients, optional
        Counted alike, each imagined in every arm; by default the trial's, at their own alliance
        (a latent one as the model has it). Where the alliance was named, the average is taken at
        each of its values.
    therapist : str
        ``new``, ``known``, ``own``, ``average``, or the id of a therapist of the trial.
    arms : sequence of str, optional
        All of them by default.
    thresholds : Thresholds, optional
    interval : float

    Returns
    -------
    Averages

    Raises
    ------
    InputError
        If an arm or a therapist does not exist, or a threshold lies outside the scale.
    """
    tails(interval)
    asked = trial_patients(posterior) if patients is None else patients
    wanted = Thresholds() if thresholds is None else thresholds
    wanted.require(posterior.name, posterior.outcome)
    design, steps = posterior.design, score_steps(posterior)
    chosen = chosen_arms(posterior, arms)
    latent = own_alliance(posterior) if asked.of_trial else None

    def quantity(posterior: Posterior, eta: Array, rows: Rows) -> dict[str, Array]:
        found = expected(posterior, eta, rows)
        return found | wanted.chances(posterior, eta, rows, steps)

    rows: list[dict[str, Any]] = []
    measured: list[dict[str, Array]] = []
    for value, some in _groups(asked):
        found = Question(
            posterior,
            asked.rows.chosen(some),
            chosen,
            alliance=None if latent is None else latent[:, some],
            therapists=tuple(_therapists(posterior, asked, therapist, some)),
            over_new=therapist == "new",
        ).averaged(quantity)
        for k, arm in enumerate(chosen):
            rows.append(
                {
                    "outcome": posterior.name,
                    "arm": design.arms[arm],
                    "moderator": value,
                    "patients": len(some),
                    "therapist": therapist,
                    "extrapolated": bool(asked.extrapolated[some].any()),
                }
            )
            measured.append({name: values[:, k] for name, values in found.items()})
    table = [
        row | _summary(values, wanted, interval) for row, values in zip(rows, measured, strict=True)
    ]
    names, contrasts = names_among(design.arms, chosen), []
    for start in range(0, len(rows), len(chosen)):
        for later, earlier in arm_pairs(len(chosen)) if len(chosen) > 1 else ():
            first, second = measured[start + later], measured[start + earlier]
            difference = {name: first[name] - second[name] for name in first}
            whose = {name: value for name, value in rows[start].items() if name != "arm"}
            row = {"outcome": whose.pop("outcome"), "contrast": names[later, earlier], **whose}
            row |= _summary(difference, wanted, interval)
            row["prob_positive"] = (difference["expected"] > 0).mean()
            judged = wanted.judge(difference["expected"], posterior.direction)
            row["prob_better"] = judged["prob_better"]
            if wanted.better_by is not None:
                row |= {"better_by": wanted.better_by, "prob_better_by": judged["prob_better_by"]}
            contrasts.append(row)
    return Averages(
        outcome=posterior.name,
        interval=interval,
        table=pd.DataFrame(table),
        contrasts=pd.DataFrame(contrasts),
        draws=row_draws(
            posterior,
            {name: np.stack([each[name] for each in measured], axis=1) for name in measured[0]},
        ),
        counted=chances_in_words(posterior) if wanted.scores else NOTHING_COUNTED,
    )


def _groups(asked: AskedPatients) -> Iterator[tuple[float, Index]]:
    """Values of the alliance, and positions of the patients imagined with each."""
    everybody, values = np.arange(len(asked)), asked.rows.moderator
    if not asked.alliance_named:
        yield np.nan, everybody
        return
    for value in dict.fromkeys(values.tolist()):
        yield value, everybody[values == value]


def _therapists(
    posterior: Posterior, asked: AskedPatients, therapist: str, some: Index
) -> Iterator[TherapistPart | None]:
    """Therapists of these patients that are counted alike; None for an average one, or all new."""
    if therapist == "new":
        yield None
        return
    if therapist == "known":
        choices = [TherapistChoice.known(name) for name in posterior.design.therapists]
    else:
        choices = [choose_therapist(posterior.design, asked, therapist)]
    for choice in choices:
        labels = choice.labels
        if len(labels) > 1:
            choice = TherapistChoice(choice.kind, tuple(labels[k] for k in some))
        yield therapist_part(posterior, choice, len(some))


def _summary(values: dict[str, Array], thresholds: Thresholds, interval: float) -> dict[str, Any]:
    found = described(values["expected"], interval, "expected")
    for name, value in thresholds.scores.items():
        share = described(values[f"prob_{name}"], interval, f"prob_{name}")
        del share[f"prob_{name}_sd"]
        found |= {name: value, **share}
    return found
