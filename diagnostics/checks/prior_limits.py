"""What of the priors is judged, where the lines are drawn, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alliance.inference.draws.quantiles import quantiles
from alliance.models.design.design import Design
from alliance.models.priors import Priors

Array = NDArray[np.float64]

PLAUSIBLE, TOO_WIDE, TOO_TIGHT = "plausible", "too wide", "too tight"

# Priors that expect more scores outside the outcome's range than within say nothing about it. A
# normal outcome always reaches beyond: with the default priors a fifth to a third of the scores.
MOST_IMPOSSIBLE = 0.5
# No bounded scores have an SD over half the range: all would have to lie at its two ends.
MOST_SPREAD = 0.5
# The size of the trial's own SD must be possible: 1 in 20, as all lower limits here.
LEAST_POSSIBLE = 0.05
# An effect that is asked about (alliance, arms, interaction) has a prior SD of at most the whole
# scale: a normal variable lies beyond one SD with a chance of 0.32.
MOST_BEYOND = 1 / 3
# Baseline and covariates are adjusted for, not asked about; their priors are wide on purpose, and
# over the four or five SDs that are observed a slope of 1 SD for 1 SD crosses the whole scale.
MOST_BEYOND_ADJUSTED = 2 / 3
# Where scores are bounded no effect is larger than the scale. More than half of it is then as far.
MOST_OVER_HALF, MOST_OVER_HALF_ADJUSTED = 1 / 2, 3 / 4
# Between groups 0.2 SDs are small (Cohen 1988, Statistical Power Analysis, section 2.2), and r = .1
# over two SDs of a variable is as much. A prior may not rule that out.
SMALL_EFFECT = 0.2
# Therapists who differ more than the scores do as a whole: every second point would be theirs.
# Slopes are taken one SD of the alliance from its mean, where they make as large a difference as
# they do over all patients.
LARGE_THERAPIST_SD, MOST_LARGE_THERAPISTS = 1.0, 0.05
# 5% of the variance is what therapists are usually found to account for (Baldwin & Imel 2013, in
# Bergin and Garfield's Handbook of Psychotherapy and Behavior Change): an SD of sqrt(.05).
USUAL_THERAPIST_SD = 0.22
# An SD of 0.3 is left where nine tenths of the variance are explained, more than in any trial.
SMALL_RESIDUAL_SD = 0.3


@dataclass(frozen=True, slots=True)
class PriorRow:
    """One quantity under the priors, and what it is held against.

    Attributes
    ----------
    quantity, level : str
    priors : tuple of str
        Entries under ``[priors]`` that it rests on.
    start, end : float
        Values between which a variable is taken to move; missing (NaN) where nothing moves.
    lower, median, upper : float
        Limits of the central 95% of the draws, and their median.
    large : float
        What counts as too large, in the same unit; missing where nothing does.
    share_large, most_large : float
        Share of draws beyond it (in either direction), and the largest share that is plausible.
    small, share_small, least_small : float
        What must be possible, the share of draws at least as large, and the least plausible one.
    share_over_half : float
        Share of effects that are larger than half of the scale; missing for other quantities.
    """

    quantity: str
    level: str
    priors: tuple[str, ...]
    start: float
    end: float
    lower: float
    median: float
    upper: float
    large: float = np.nan
    share_large: float = np.nan
    most_large: float = np.nan
    small: float = np.nan
    share_small: float = np.nan
    least_small: float = np.nan
    share_over_half: float = np.nan

    @property
    def verdict(self) -> str:
        """``plausible``, ``too wide`` or ``too tight``."""
        if self.share_large > self.most_large:
            return TOO_WIDE
        return TOO_TIGHT if self.share_small < self.least_small else PLAUSIBLE

    @property
    def excess(self) -> float:
        """How far beyond its limit the row lies; up to 1 where it is plausible."""
        ratios = [
            0.0 if np.isnan(self.share_large) else self.share_large / self.most_large,
            0.0
            if np.isnan(self.share_small)
            else self.least_small / max(self.share_small, np.finfo(float).tiny),
        ]
        return max(ratios)


def central(values: Array) -> tuple[float, float, float]:
    """Limits of the central 95% of some draws, with their median in between."""
    lower, median, upper = quantiles(values, [0.025, 0.5, 0.975])
    return float(lower), float(median), float(upper)


def main_sources(design: Design, priors: Priors, names: Sequence[str]) -> list[tuple[str, float]]:
    """Which priors the spread of scores comes from: those that bring most of its variance.

    Parameters
    ----------
    design : Design
    priors : Priors
    names : sequence of str
        Entries of the priors to choose from; all that the model has where it is empty.

    Returns
    -------
    list of (str, float)
        Names and shares of the prior variance of the linear predictor and residual, averaged over
        the patients; largest first.
    """
    kinds = {
        "intercept": "intercept",
        "baseline": "baseline_slope",
        "arm": "arm",
        "moderator": "moderator_slope",
        "interaction": "interaction",
        "covariate": "covariate_slope",
    }
    squares = (design.X**2).mean(axis=0) * design.prior_sd(priors) ** 2
    variance: dict[str, float] = {}
    for k in design.present:
        kind = kinds[design.encoding.terms[k].kind]
        variance[kind] = variance.get(kind, 0.0) + float(squares[k])
    effects = {"intercept": "therapist_sd", "slope": "therapist_slope_sd"}
    for effect, column in zip(design.effects, design.effect_columns, strict=True):
        kind = effects.get(effect, "therapist_arm_sd")
        square = float((design.X[:, column] ** 2).mean()) * getattr(priors, kind) ** 2
        variance[kind] = variance.get(kind, 0.0) + square
    if any(parameter.scale == "residual_sd" for parameter in design.family.parameters):
        variance["residual_sd"] = priors.residual_sd**2
    chosen = {name: value for name, value in variance.items() if not names or name in names}
    total = sum(chosen.values())
    shares = [(name, value / total) for name, value in chosen.items()]
    return sorted(shares, key=lambda each: -each[1])
