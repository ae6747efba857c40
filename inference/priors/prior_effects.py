"""What the priors say of each effect: by how many points it may move the expected score.

Each effect is taken over what the trial can show of it: the alliance, the baseline and the
covariates from their lowest to their highest observed value, arms from one to the other at the
mean of the alliance, always with an average therapist and averaged over the patients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.levels import AVERAGE, BETWEEN, contrast_names, slope_names
from alliance.inference.posterior import Posterior
from alliance.inference.scores.predictor import expected_scores
from alliance.models.design.design import Design
from alliance.models.design.encoding import arm_pairs, sum_to_zero_basis

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class PriorEffect:
    """An effect under the priors.

    Attributes
    ----------
    quantity, level : str
        As in the tidy table.
    priors : tuple of str
        Entries of `models.priors.Priors` that it rests on.
    start, end : float
        Values of the variable that it is taken between, in the variable's own unit; missing (NaN)
        for arms.
    change : ndarray, shape (d,)
        Of the expected score, in points.
    standard : ndarray, shape (d,)
        The effect in SDs of the outcome: between two arms, or for two SDs of a variable, as far
        apart as two groups of equal size are (Gelman 2008, doi:10.1002/sim.3107). Where the link
        is curved, to first order.
    """

    quantity: str
    level: str
    priors: tuple[str, ...]
    start: float
    end: float
    change: Array
    standard: Array


def prior_effects(whole: Design, design: Design, draws: xr.Dataset) -> list[PriorEffect]:
    """Effects of the alliance, the arms, their interaction, the baseline and the covariates.

    Parameters
    ----------
    whole : Design
        Of all patients, whose observed values the effects are taken between.
    design : Design
        Of the patients that are averaged over.
    draws : xarray.Dataset
        As from `inference.priors.prior_predictive.prior_draws`.

    Returns
    -------
    list of PriorEffect
    """
    asked = _Asked(whole, design, draws)
    found = [*_alliance(asked), *_arms(asked)]
    scaling = whole.scaling
    if whole.has_baseline:
        found.insert(0, asked.covered("baseline_slope", "", "baseline", scaling.baseline))
    columns = whole.encoding.places("covariate")
    for k, name, _ in whole.encoding.seen_columns:
        column = whole.coefficients[columns[k]]
        found.append(asked.covered("covariate_slope", name, column, scaling.covariates[k]))
    return found


@dataclass(frozen=True, eq=False)
class _Asked:
    whole: Design
    design: Design
    draws: xr.Dataset

    @property
    def beta(self) -> Array:
        return np.asarray(self.draws["beta"].values[0])

    def ends(self, column: str) -> tuple[float, float]:
        """Lowest and highest observed value of a column, standardised."""
        values = self.whole.X[:, self.whole.coefficients.index(column)]
        if column == "moderator":
            values = values[~self.whole.moderator_missing]
        return float(values.min()), float(values.max())

    def patients(self, arm: int | None = None, moderator: float = 0.0) -> Array:
        """The patients' columns at an alliance, in their own arms or all in one."""
        X, names = self.design.X.copy(), self.design.coefficients
        basis = sum_to_zero_basis(len(self.design.arms))
        X[:, names.index("moderator")] = moderator
        for k in range(1, len(self.design.arms)):
            if arm is not None:
                X[:, names.index(f"arm[{k}]")] = basis[arm, k - 1]
            if (name := f"interaction[{k}]") in names:
                X[:, names.index(name)] = moderator * X[:, names.index(f"arm[{k}]")]
        return X

    def predictor(self, X: Array) -> Array:
        """Mean linear predictor (d,) over the rows."""
        return np.asarray(self.beta @ X[:, self.design.present].mean(axis=0))

    def expected(self, X: Array, shift: Array | float = 0.0) -> Array:
        """Mean expected score (d,) over the rows, their predictors shifted."""
        scale = self.design.scale
        if self.design.family.link == "identity":
            return scale.offset + scale.unit * (self.predictor(X) + shift)
        moved = self.beta @ X[:, self.design.present].T + np.reshape(shift, (-1, 1))
        return np.asarray(expected_scores(Posterior(self.design, self.draws), moved).mean(axis=1))

    def covered(
        self, quantity: str, level: str, column: str, scale: tuple[float, float]
    ) -> PriorEffect:
        """The effect of a variable that has no interaction."""
        low, high = self.ends(column)
        rows = []
        for value in (low, high, -1.0, 1.0):
            X = self.patients()
            X[:, self.design.coefficients.index(column)] = value
            rows.append(X)
        return PriorEffect(
            quantity,
            level,
            (quantity,),
            *_own(scale, low, high),
            self.expected(rows[1]) - self.expected(rows[0]),
            self.predictor(rows[3]) - self.predictor(rows[2]),
        )


def _own(scale: tuple[float, float], low: float, high: float) -> tuple[float, float]:
    mean, sd = scale
    return mean + sd * low, mean + sd * high


def _alliance(asked: _Asked) -> list[PriorEffect]:
    """Slopes: averaged over arms, between therapists, in each arm, and their differences."""
    design = asked.design
    low, high = asked.ends("moderator")
    ends = _own(asked.whole.scaling.moderator, low, high)
    arms = range(len(design.arms))
    change = np.stack(
        [
            asked.expected(asked.patients(k, high)) - asked.expected(asked.patients(k, low))
            for k in arms
        ]
    )
    standard = np.stack(
        [
            asked.predictor(asked.patients(k, 1.0)) - asked.predictor(asked.patients(k, -1.0))
            for k in arms
        ]
    )
    slope, own = ("moderator_slope",), ("moderator_slope", "interaction")
    found = [
        PriorEffect(
            "moderator_slope", AVERAGE, slope, *ends, change.mean(axis=0), standard.mean(axis=0)
        )
    ]
    if "moderator_slope_between" in asked.draws:
        between = asked.draws["moderator_slope_between"].values[0]
        X = asked.patients()
        moved = asked.expected(X, between * high) - asked.expected(X, between * low)
        found.append(
            PriorEffect("moderator_slope", BETWEEN, slope, *ends, moved, 2 * between),
        )
    if not design.encoding.interaction:
        return found
    names = contrast_names(design.arms)
    found += [
        PriorEffect("moderator_slope", name, own, *ends, change[k], standard[k])
        for k, name in enumerate(slope_names(design.arms))
    ]
    found += [
        PriorEffect(
            "interaction",
            names[k, j],
            ("interaction",),
            *ends,
            change[k] - change[j],
            standard[k] - standard[j],
        )
        for k, j in arm_pairs(len(design.arms))
    ]
    return found


def _arms(asked: _Asked) -> list[PriorEffect]:
    """Contrasts of the arms at the mean of the ratings that there are."""
    arms, names = asked.design.arms, contrast_names(asked.design.arms)
    rows = [asked.patients(k) for k in range(len(arms))]
    expected, predictor = [asked.expected(X) for X in rows], [asked.predictor(X) for X in rows]
    return [
        PriorEffect(
            "arm_contrast",
            names[k, j],
            ("arm",),
            np.nan,
            np.nan,
            expected[k] - expected[j],
            predictor[k] - predictor[j],
        )
        for k, j in arm_pairs(len(arms))
    ]
