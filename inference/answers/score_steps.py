"""Chances of scores that go in steps, under distributions that know none.

A Gaussian or Student-t model of scores from 0 to 10 gives no score a chance of its own. What is
recorded as 5 is anything nearer to 5 than to 4 or 6, so that a score of at most 5 reaches up to
5.5, and one of at least 5 begins at 4.5 (the correction for continuity; the unit intervals that
`inference.leaving_out.leave_one_out_comparison` takes too). What lies beyond an end of the scale is
recorded as that end. Scores without a common step are taken as they are, and so are discrete
families, which have their own chances.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alliance.inference.posterior import Posterior
from alliance.inference.scores.residuals import chance_at_least, chance_at_most
from alliance.models.design.design import Design
from alliance.models.families.family import Auxiliary

Array = NDArray[np.float64]

MOST_STEPS = 1000  # of a range; half a step of a finer scale is less than 1/2000 of it
ROUNDING = 1e-3  # of a step, by which a score may miss its place: single precision loses less


@dataclass(frozen=True, slots=True)
class ScoreSteps:
    """What an outcome's recorded scores can be.

    Attributes
    ----------
    low, high : float
        Ends of the outcome's range.
    step : float
        Between neighbouring scores, counted from the lower end; zero where scores have no common
        step, or the family is a discrete one.
    """

    low: float
    high: float
    step: float = 0.0

    def chance_at_least(
        self, design: Design, auxiliary: Auxiliary, eta: Array, bound: Array
    ) -> Array:
        """Probability that a score of at least `bound` is recorded.

        Parameters
        ----------
        design : Design
        auxiliary : mapping of str to ndarray
            As from `inference.scores.residuals.family_parameters`.
        eta : ndarray, shape (d, r)
            On the scale of the family's link.
        bound : ndarray, shape (r,)
            On the outcome's own scale.

        Returns
        -------
        ndarray, shape (d, r)
        """
        if not self.step:
            return chance_at_least(design, auxiliary, eta, bound)
        lowest = np.ceil(self._places(bound) - ROUNDING)
        chance = chance_at_least(design, auxiliary, eta, self.low + (lowest - 0.5) * self.step)
        return np.where(lowest <= 0, 1.0, np.where(lowest > self._top, 0.0, chance))

    def chance_at_most(
        self, design: Design, auxiliary: Auxiliary, eta: Array, bound: Array
    ) -> Array:
        """Probability that a score of at most `bound` is recorded: see `chance_at_least`."""
        if not self.step:
            return chance_at_most(design, auxiliary, eta, bound)
        highest = np.floor(self._places(bound) + ROUNDING)
        chance = chance_at_most(design, auxiliary, eta, self.low + (highest + 0.5) * self.step)
        return np.where(highest >= self._top, 1.0, np.where(highest < 0, 0.0, chance))

    def recorded(self, scores: Array) -> Array:
        """Drawn scores as they are recorded: at the nearest step, within the range."""
        if not self.step:
            return scores
        places = np.clip(np.rint(self._places(scores)), 0, self._top)
        return np.asarray(self.low + places * self.step)

    @property
    def words(self) -> str:
        """What chances count, in a sentence; empty where scores have no steps."""
        if not self.step:
            return ""
        half = self.step / 2
        return (
            f"scores go in steps of {self.step:g}: the chance of at most a score counts up to "
            f"{half:g} above it, of at least a score from {half:g} below it, and of a change from "
            f"{half:g} less."
        )

    @property
    def _top(self) -> float:
        return float(np.floor((self.high - self.low) / self.step + ROUNDING))

    def _places(self, values: Array) -> Array:
        return np.asarray((np.asarray(values, dtype=float) - self.low) / self.step)


def common_step(scores: Array, limits: tuple[float, float]) -> float:
    """The largest step that all scores are whole numbers of, counted from the lower end.

    Parameters
    ----------
    scores : ndarray, shape (n,)
        Missing ones are passed over.
    limits : tuple of float
        Ends of the outcome's range.

    Returns
    -------
    float
        Zero where the range would be more than `MOST_STEPS` of it.

    Examples
    --------
    >>> common_step(np.array([0.0, 3.0, 7.0]), (0.0, 10.0))
    1.0
    >>> common_step(np.array([0.123, 3.4567, 7.1]), (0.0, 10.0))
    0.0
    """
    low, high = limits
    above = np.unique(scores[np.isfinite(scores)] - low)
    gaps = np.diff(above, prepend=0.0)
    finest = (high - low) / MOST_STEPS
    gaps = gaps[gaps > ROUNDING * finest]
    if not len(gaps):
        return 0.0
    gap = float(gaps.min())  # a whole number of steps itself
    few = above[:: max(1, len(above) // 50)]  # enough to refuse most steps
    for parts in range(1, int(gap / finest * (1 + ROUNDING)) + 1):
        step = gap / parts
        if _whole(few / step) and _whole(above / step):
            return float(_exact(above, step))
    return 0.0


def _exact(above: Array, step: float) -> Array:
    """The step from the farthest score, which loses the fewest digits."""
    return np.asarray(above[-1] / np.rint(above[-1] / step))


def _whole(places: Array) -> bool:
    return bool((np.abs(places - np.rint(places)) <= ROUNDING).all())


def score_steps(posterior: Posterior) -> ScoreSteps:
    """Steps of an outcome's scores, as its analysed patients have them.

    Parameters
    ----------
    posterior : Posterior
    """
    low, high = posterior.outcome.range
    if posterior.design.family.discrete:
        return ScoreSteps(low, high)
    scores = np.asarray(posterior.patients["outcome"].values, dtype=float)
    return ScoreSteps(low, high, common_step(scores, (low, high)))
