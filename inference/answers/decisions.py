"""What follows from named thresholds: chances of an effect, shares who improve, a lifted alliance.

Nothing here has a default threshold. All answers are averages over the trial's patients, each
imagined in every arm (g-computation, as in `inference.answers.effect_curves`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError
from alliance.data_prep.levels import code_names
from alliance.inference.answers.effect_curves import Contrast, find_contrasts
from alliance.inference.answers.effect_tables import contrast_chances, described_draws
from alliance.inference.answers.effects import require_askable
from alliance.inference.answers.lift import Lift, lift_alliance
from alliance.inference.answers.score_ends import NOTHING_COUNTED, ChanceWords, chances_in_words
from alliance.inference.answers.score_steps import ScoreSteps, score_steps
from alliance.inference.answers.yardsticks import Yardstick
from alliance.inference.patients.extrapolation import beyond, observed_range
from alliance.inference.posterior import Posterior, Rows
from alliance.inference.scores.arm_means import (
    Measure,
    averaged,
    distinct_patients,
    expected_measure,
)
from alliance.inference.scores.therapist_parts import NEW, therapist_part
from alliance.models.design.design import Design
from alliance.models.families.family import Auxiliary

Array = NDArray[np.float64]

QUARTILES = (0.25, 0.5, 0.75)  # of the observed alliance, where no values are named
COLUMNS = (
    "outcome",
    "quantity",
    "level",
    "moderator",
    "mean",
    "sd",
    "lower",
    "upper",
    "prob_positive",
    "prob_better",
    "prob_better_by",
    "prob_equivalent",
    "threshold",
    "rope_low",
    "rope_high",
    "reach",
    "source",
    "lift",
    "extrapolated",
)


AS_TREATED = "as treated"  # level of a lift over all patients, each in the arm of their own


@dataclass(frozen=True, eq=False, slots=True)
class Decisions:
    """Answers about one outcome.

    Attributes
    ----------
    outcome : str
    table : pandas.DataFrame
        Columns as in `COLUMNS`. A row without ``moderator`` is about the patients at their own
        alliance. Quantities: ``arm_contrast``; ``share_improved`` and ``share_reaching`` of each
        arm, and their differences ``share_improved_contrast`` and ``share_reaching_contrast``;
        ``lift`` of each arm and ``as treated``, ``lift_with_therapist_means``.
    patients : int
        Who is averaged over.
    improvement : bool
        Whether there is a baseline to improve from.
    lift : Lift or None
    counted : ChanceWords
        What chances of scores count, and at which ends they are off; empty where none are told.
    """

    outcome: str
    table: pd.DataFrame
    patients: int
    improvement: bool
    lift: Lift | None
    counted: ChanceWords = NOTHING_COUNTED


def decisions(
    posterior: Posterior,
    yardstick: Yardstick,
    *,
    contrasts: Sequence[str] = (),
    values: Sequence[float] = (),
    lift: float | None = None,
    interval: float = 0.95,
    extrapolate: bool = False,
    seed: int = 0,
) -> Decisions:
    """Hold one outcome's effects against what the analyst named.

    Parameters
    ----------
    posterior : Posterior
    yardstick : Yardstick
    contrasts : sequence of str
        As in `inference.answers.effect_curves.find_contrasts`.
    values : sequence of float
        The alliance at which answers are wanted, beside the patients' own; the quartiles of the
        observed one if none is named.
    lift : float, optional
        Points by which every patient's alliance is lifted: see `inference.answers.lift`.
    interval : float
        Probability of the equal-tailed intervals.
    extrapolate : bool
        Whether values and lifted values may leave the observed range.
    seed : int
        For the new therapists of the shares.

    Returns
    -------
    Decisions
        Effects and lifts are those of an average therapist. Shares are those among the patients
        of a new therapist, one drawn for each draw of the posterior, who treats all patients in
        all arms: their mean is the share to expect, their interval holds what differs between
        therapists, and not the chance of small numbers.

    Raises
    ------
    InputError
        If nothing is asked; or the outcome, a contrast or a value of the alliance is not there.
    """
    if yardstick.empty and lift is None:
        raise InputError(
            f"Nothing is asked about {posterior.name}, and no threshold has a default.",
            "Name a threshold, a region of equivalence, a score to reach or a lift.",
        )
    design, draws = posterior.design, posterior.draws
    patients = posterior.rows
    observed = observed_range(patients)
    require_askable(posterior, values, observed, extrapolate=extrapolate)
    ratings = patients.moderator[np.isfinite(patients.moderator)]
    shown = np.unique(values if len(values) else np.quantile(ratings, QUARTILES))
    asked = _Asked(
        design=design,
        draws=draws,
        patients=patients,
        values=shown,
        contrasts=find_contrasts(design.arms, contrasts),
        gain=1 if posterior.outcome.better == "higher" else -1,
        yardstick=yardstick,
        interval=interval,
        seed=seed,
        steps=score_steps(posterior),
    )
    rows = asked.effects()
    improvement = yardstick.threshold is not None and patients.baseline is not None
    if improvement:
        rows += asked.shares("share_improved", asked.improved)
    if yardstick.reach is not None:
        rows += asked.shares("share_reaching", asked.reaching)
    lifted = None
    if lift is not None:
        lifted = lift_alliance(posterior, lift, extrapolate=extrapolate)
        rows += asked.lifted(lifted)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table["outcome"] = posterior.name
    named = table[["threshold", "rope_low", "reach"]].notna().any(axis=1)
    table["source"] = table["source"].astype(object).where(~named, yardstick.source)
    too_far = table["lift"].notna() & bool(lifted is not None and lifted.extrapolated)
    table["extrapolated"] = beyond(table["moderator"].to_numpy(float), observed) | too_far
    shares = table["quantity"].str.startswith("share").any()
    return Decisions(
        posterior.name,
        table,
        len(patients),
        improvement,
        lifted,
        chances_in_words(posterior) if shares else NOTHING_COUNTED,
    )


@dataclass(frozen=True, eq=False, slots=True)
class _Asked:
    """What is asked about one outcome, and the rows that answer it."""

    design: Design
    draws: xr.Dataset
    patients: Rows
    values: Array
    contrasts: list[Contrast]
    gain: int
    yardstick: Yardstick
    interval: float
    seed: int
    steps: ScoreSteps

    def effects(self) -> list[dict[str, Any]]:
        """Contrasts of expected scores, with an average therapist."""
        rows = []
        for value, by_arm in self._everywhere(lambda _: expected_measure(self.design), new=False):
            for which in self.contrasts:
                draws = by_arm[:, which.first] - by_arm[:, which.second]
                row = {"quantity": "arm_contrast", "level": which.level, "moderator": value}
                rows.append(row | self._against(draws))
        return rows

    def shares(self, quantity: str, measure: Any) -> list[dict[str, Any]]:
        """Shares of the patients of a new therapist, in every arm, and their differences."""
        named = (
            {"threshold": self.yardstick.threshold}
            if quantity == "share_improved"
            else {"reach": self.yardstick.reach}
        )
        rows, differences = [], []
        for value, by_arm in self._everywhere(measure, new=True):
            place = {"moderator": value} | named
            for k, arm in enumerate(self.design.arms):
                described = described_draws(by_arm[:, k], self.interval)
                row = {"quantity": quantity, "level": arm} | place | described
                rows.append(row | {"prob_positive": np.nan})
            for which in self.contrasts:
                draws = by_arm[:, which.first] - by_arm[:, which.second]
                row = {"quantity": f"{quantity}_contrast", "level": which.level} | place
                row |= described_draws(draws, self.interval)
                differences.append(row | {"prob_better": (draws > 0).mean()})
        return rows + differences

    def improved(self, patients: Rows) -> Measure:
        """Chance that a patient's change from baseline is at least the threshold."""
        if patients.baseline is None or self.yardstick.threshold is None:
            raise ValueError("no baseline or no threshold")
        return self._chance(patients.baseline + self.gain * self.yardstick.threshold)

    def reaching(self, patients: Rows) -> Measure:
        """Chance of the named score, or a better one."""
        return self._chance(np.full(len(patients), self.yardstick.reach))

    def lifted(self, lift: Lift) -> list[dict[str, Any]]:
        """What a lifted alliance changes, by arm and as treated."""
        parts = {"lift": lift.change, "lift_with_therapist_means": lift.with_means}
        rows = []
        for quantity, change in parts.items():
            if change is None:
                continue
            names = code_names(self.design.arms, [AS_TREATED])
            by_level = {name: change.by_arm[:, k] for k, name in enumerate(names)}
            for level, draws in (by_level | {AS_TREATED: change.as_treated}).items():
                row = {"quantity": quantity, "level": level, "lift": lift.points}
                rows.append(row | self._against(draws))
        return rows

    def _against(self, draws: Array) -> dict[str, Any]:
        return described_draws(draws, self.interval) | contrast_chances(
            draws, self.gain, self.yardstick
        )

    def _chance(self, bound: Array) -> Measure:
        steps = self.steps
        chance = steps.chance_at_least if self.gain > 0 else steps.chance_at_most

        def measure(eta: Array, auxiliary: Auxiliary, some: slice) -> Array:
            return chance(self.design, auxiliary, eta, bound[some])

        return measure

    def _everywhere(self, measure: Any, *, new: bool) -> list[tuple[float, Array]]:
        """Averages (d, K) at the patients' own alliance (NaN), and at each value."""
        distinct, counts = distinct_patients(self.patients)
        own = Posterior(self.design, self.draws).alliance()
        found = [(np.nan, self._averages(self.patients, own, measure, None, new))]
        mean, sd = self.design.scaling.moderator
        for value in self.values:
            moderator = np.full((1, len(distinct)), (value - mean) / sd)
            found.append((value, self._averages(distinct, moderator, measure, counts, new)))
        return found

    def _averages(
        self, patients: Rows, moderator: Array, measure: Any, weights: Array | None, new: bool
    ) -> Array:
        part = None
        if new:  # the same generator each time: one new therapist for all arms and values
            generator = np.random.default_rng(self.seed)
            part = therapist_part(Posterior(self.design, self.draws), NEW, len(patients), generator)
        return averaged(
            Posterior(self.design, self.draws),
            patients,
            moderator,
            measure(patients),
            weights=weights,
            therapists=part,
        ).by_arm
