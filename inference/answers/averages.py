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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.levels import names_among
from alliance.inference.answers.prediction_tables import require_interval
from alliance.inference.answers.score_ends import NOTHING_COUNTED, ChanceWords, chances_in_words
from alliance.inference.answers.score_steps import ScoreSteps, score_steps
from alliance.inference.draws.blocks import normal_nodes
from alliance.inference.draws.datatree import posterior
from alliance.inference.patients.asked_patients import (
    AskedPatients,
    choose_therapist,
    chosen_arms,
    require_outcome,
    trial_patients,
)
from alliance.inference.runs.fit import Fit
from alliance.inference.scores.expected_scores import patient_moderator
from alliance.inference.scores.predictor import (
    Rows,
    TherapistChoice,
    TherapistPart,
    column_blocks,
    link_scale,
    new_therapists,
    predictor_at,
    therapist_part,
)
from alliance.inference.scores.residuals import family_parameters
from alliance.inference.scores.score_thresholds import Thresholds
from alliance.models.design.design import Design, arm_pairs
from alliance.models.families.family import Auxiliary

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
    fit: Fit,
    outcome: str,
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
    fit : Fit
    outcome : str
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
        If the outcome, an arm or a therapist does not exist, or a threshold lies outside the
        scale.
    """
    require_outcome(fit, outcome)
    require_interval(interval)
    asked = trial_patients(fit, outcome) if patients is None else patients
    wanted = Thresholds() if thresholds is None else thresholds
    described = fit.study.outcomes[outcome]
    wanted.require(outcome, described)
    design, draws = fit.design(outcome), posterior(fit.trees[outcome])
    query = _Average(
        design=design,
        draws=draws,
        patients=asked,
        therapist=therapist,
        thresholds=wanted,
        better=described.better,
        auxiliary=family_parameters(design, draws, fit.specs[outcome].priors),
        steps=score_steps(fit, outcome),
    )
    chosen = chosen_arms(query.design, arms)
    rows, measured = [], []
    for value, some in query.groups():
        for arm in chosen:
            rows.append(
                {
                    "outcome": outcome,
                    "arm": query.design.arms[arm],
                    "moderator": value,
                    "patients": len(some),
                    "therapist": therapist,
                    "extrapolated": bool(asked.extrapolated[some].any()),
                }
            )
            measured.append(query.measure(some, arm))
    gain = 1 if described.better == "higher" else -1
    return Averages(
        outcome=outcome,
        interval=interval,
        table=_table(rows, measured, wanted, interval),
        contrasts=_contrasts(
            rows, measured, names_among(design.arms, chosen), len(chosen), wanted, interval, gain
        ),
        draws=_dataset(query.draws, measured),
        counted=chances_in_words(fit, outcome) if wanted.asked else NOTHING_COUNTED,
    )


@dataclass(frozen=True, eq=False)
class _Average:
    design: Design
    draws: xr.Dataset
    patients: AskedPatients
    therapist: str
    thresholds: Thresholds
    better: str
    auxiliary: Auxiliary
    steps: ScoreSteps

    def groups(self) -> Iterator[tuple[float, NDArray[np.int64]]]:
        """Values of the alliance, and positions of the patients imagined with each."""
        everybody = np.arange(len(self.patients))
        if not self.patients.alliance_named:
            yield np.nan, everybody
            return
        values = self.patients.rows.moderator
        for value in dict.fromkeys(values.tolist()):
            yield value, everybody[values == value]

    def measure(self, some: NDArray[np.int64], arm: int) -> dict[str, Array]:
        """Draws (d,) of the averages over these patients in one arm."""
        rows = self.patients.rows.chosen(some).in_arm(arm)
        moderator = self._moderator(some)
        found: dict[str, Array] = {}
        parts = list(self._therapists(some))
        for part in parts:
            for name, values in self._over_patients(rows, moderator, part).items():
                found[name] = found.get(name, 0.0) + values / len(parts)
        return found

    def _moderator(self, some: NDArray[np.int64]) -> Array:
        """Standardised alliance, (1, n), or (d, n) where it is a parameter."""
        if self.patients.of_trial:
            return patient_moderator(self.design, self.draws)[:, some]
        mean, sd = self.design.scaling.moderator
        return (self.patients.rows.moderator[None, some] - mean) / sd

    def _therapists(self, some: NDArray[np.int64]) -> Iterator[TherapistPart | None]:
        """Therapists that are counted alike; None for an average one, or all new ones."""
        if self.therapist == "new":
            yield None
            return
        if self.therapist == "known":
            choices = [TherapistChoice.known(name) for name in self.design.therapists]
        else:
            choices = [choose_therapist(self.design, self.patients, self.therapist)]
        for choice in choices:
            labels = choice.labels
            if len(labels) > 1:
                choice = TherapistChoice(choice.kind, tuple(labels[k] for k in some))
            generator = np.random.default_rng(0)  # known and average therapists are not drawn
            yield therapist_part(self.design, self.draws, choice, len(some), generator)

    def _over_patients(
        self, rows: Rows, moderator: Array, part: TherapistPart | None
    ) -> dict[str, Array]:
        total = self.draws.sizes["chain"] * self.draws.sizes["draw"]
        found: dict[str, Array] = {}
        for some in column_blocks((total, len(rows)), max(1, self.design.scale.top)):
            block, value = rows.block(some), moderator[:, some]
            therapists = None if part is None else part.block(some)
            predictor = predictor_at(self.design, self.draws, block, value, therapists)
            mixture: Iterable[tuple[float, Array | float, Array]] = [(1.0, 0.0, np.zeros((1, 1)))]
            if self.therapist == "new":
                mixture = new_therapists(self.design, self.draws, block, value)
            for weight, shift, spread in mixture:
                for name, values in self._integrated(predictor + shift, spread, block).items():
                    own = weight * values.sum(axis=1) / len(rows)
                    found[name] = found.get(name, 0.0) + own
        return found

    def _integrated(self, predictor: Array, spread: Array, rows: Rows) -> dict[str, Array]:
        """Expected scores and chances (d, r), over therapists of this spread around zero."""
        found: dict[str, Array] = {}
        for node, weight in normal_nodes() if spread.any() else ((0.0, 1.0),):
            eta = link_scale(self.design, predictor + node * spread)
            scale = self.design.scale
            expected = self.design.family.expected(eta, self.auxiliary, scale)
            values = {"expected": scale.offset + scale.unit * expected}
            values |= {
                f"prob_{name}": chance
                for name, chance in self.thresholds.chances(
                    self.design, self.auxiliary, eta, rows, self.better, self.steps
                ).items()
            }
            for name, value in values.items():
                found[name] = found.get(name, 0.0) + weight * value
        return found


def _table(
    rows: list[dict[str, object]],
    measured: list[dict[str, Array]],
    thresholds: Thresholds,
    interval: float,
) -> pd.DataFrame:
    return pd.DataFrame(
        [
            row | _summary(values, thresholds, interval)
            for row, values in zip(rows, measured, strict=True)
        ]
    )


def _summary(values: dict[str, Array], thresholds: Thresholds, interval: float) -> dict[str, float]:
    tails = [(1 - interval) / 2, (1 + interval) / 2]
    expected = values["expected"]
    found: dict[str, float] = {"expected": expected.mean(), "expected_sd": expected.std(ddof=1)}
    found["expected_lower"], found["expected_upper"] = np.quantile(expected, tails)
    for name, value in thresholds.asked.items():
        share = values[f"prob_{name}"]
        found |= {name: value, f"prob_{name}": float(share.mean())}
        found[f"prob_{name}_lower"], found[f"prob_{name}_upper"] = np.quantile(share, tails)
    return found


def _contrasts(
    rows: list[dict[str, object]],
    measured: list[dict[str, Array]],
    names: Mapping[tuple[int, int], str],
    arms: int,
    thresholds: Thresholds,
    interval: float,
    gain: int,
) -> pd.DataFrame:
    found = []
    for start in range(0, len(rows), arms):
        for later, earlier in arm_pairs(arms) if arms > 1 else ():
            first, second = measured[start + later], measured[start + earlier]
            difference = {name: first[name] - second[name] for name in first}
            row = dict(rows[start])
            row = {"outcome": row.pop("outcome"), "contrast": names[later, earlier], **row}
            del row["arm"]
            row |= _summary(difference, thresholds, interval)
            row["prob_positive"] = (difference["expected"] > 0).mean()
            row["prob_better"] = (gain * difference["expected"] > 0).mean()
            if thresholds.better_by is not None:
                row["better_by"] = thresholds.better_by
                better = gain * difference["expected"] >= thresholds.better_by
                row["prob_better_by"] = better.mean()
            found.append(row)
    return pd.DataFrame(found)


def _dataset(draws: xr.Dataset, measured: list[dict[str, Array]]) -> xr.Dataset:
    shape = (draws.sizes["chain"], draws.sizes["draw"], len(measured))
    variables = {
        name: (
            ("chain", "draw", "row"),
            np.stack([values[name] for values in measured], axis=1).reshape(shape),
        )
        for name in measured[0]
    }
    coords = {
        "chain": draws["chain"].values,
        "draw": draws["draw"].values,
        "row": np.arange(len(measured)),
    }
    return xr.Dataset(variables, coords=coords)
