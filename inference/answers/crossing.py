"""Where two arms change places along the alliance, and what choosing the arm by it would gain.

The contrast of two arms at each value of the alliance is a curve for every draw; the value at which
it passes zero is the crossing. A draw may have none in the observed range, so that a crossing has
two answers: the chance that there is one, and where it lies if there is. An interval that ignored
the first would be that of a ratio whose denominator may be zero (Fieller 1954, J R Stat Soc B
16:175-185), which no data need bound; this one is bounded by the observed range and says how often
it speaks.

The gain is that of a rule which the posterior means choose, held against every draw: choosing anew
in each draw would count luck as gain. Alliance is known only once treatment has begun.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from alliance.inference.draws.summaries import described
from alliance.inference.posterior import Posterior
from alliance.inference.scores.questions import Question, expected

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Crossing:
    """Where the better of two arms changes.

    Attributes
    ----------
    level : str
        The contrast, as the analyst names it.
    draws : ndarray, shape (d,)
        The value of the alliance, in its own points, at which the contrast passes zero: the first
        where it does so more than once, NaN where it does not within the observed range.
    share_beyond : ndarray, shape (d,)
        Share of the analysed patients at whose alliance the arm is better that is not the better
        one for most of them.
    """

    level: str
    draws: Array
    share_beyond: Array

    @property
    def chance(self) -> float:
        """Probability that the better arm changes within the observed range."""
        return float(np.isfinite(self.draws).mean())

    def place(self, interval: float) -> dict[str, float]:
        """Mean, SD and interval of the draws that have a crossing; missing where two have none.

        Parameters
        ----------
        interval : float
        """
        own = self.draws[np.isfinite(self.draws)]
        if len(own) < 2:
            return dict.fromkeys(("mean", "sd", "lower", "upper"), np.nan)
        return described(own, interval)


@dataclass(frozen=True, eq=False, slots=True)
class ChosenArms:
    """What one arm for each value of the alliance would gain over one arm for all.

    Attributes
    ----------
    single : int
        Position of the arm that is best for all by the posterior mean.
    shares : ndarray, shape (K,)
        Share of the analysed patients for whom the rule chooses each arm.
    gain : ndarray, shape (d,)
        Mean difference of expected scores, in points; positive where the rule is better.
    """

    single: int
    shares: Array
    gain: Array


def crossing(level: str, points: Array, contrast: Array, ratings: Array) -> Crossing:
    """Where a contrast passes zero.

    Parameters
    ----------
    level : str
    points : ndarray, shape (g,)
        Ascending values of the alliance within the observed range.
    contrast : ndarray, shape (d, g)
        Draws of the first arm minus the second; straight between two points.
    ratings : ndarray, shape (n,)
        The analysed patients' alliance, within the points.

    Returns
    -------
    Crossing
    """
    above = contrast > 0
    start, end = contrast[:, :-1], contrast[:, 1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = start / (start - end)  # of each stretch, up to where the contrast is zero
    places = points[:-1] + share * np.diff(points)
    changes = above[:, 1:] != above[:, :-1]
    first = places[np.arange(len(contrast)), changes.argmax(axis=1)]
    found = np.where(changes.any(axis=1), first, np.nan)
    # Patients for whom the first arm is better: of each stretch all, none, or those on one side
    ordered = np.sort(ratings)
    below = np.searchsorted(ordered, points, side="right") / len(ordered)
    below[0] = 0.0
    passed = np.searchsorted(ordered, np.where(changes, places, points[:-1]), side="right")
    within = passed / len(ordered)
    low = np.where(above[:, :-1], below[:-1], within)
    high = np.where(above[:, 1:], below[1:], within)
    positive = np.where(above[:, :-1] | above[:, 1:], high - low, 0.0).sum(axis=1)
    return Crossing(level, found, np.minimum(positive, 1 - positive))


def known_alliance(posterior: Posterior) -> Array:
    """The alliance that is known of each analysed patient who can have one, in its own points.

    The rating, or the posterior mean where it is latent.

    Parameters
    ----------
    posterior : Posterior

    Returns
    -------
    ndarray, shape (n,)
    """
    mean, sd = posterior.design.scaling.moderator
    known = mean + sd * posterior.alliance().mean(axis=0)
    return np.asarray(known[posterior.design.can_have_moderator])


def chosen_arms(posterior: Posterior, points: Array, curves: Array, direction: int) -> ChosenArms:
    """Hold the arm that is best at each patient's alliance against one arm for all.

    Parameters
    ----------
    posterior : Posterior
    points : ndarray, shape (g,)
        Ascending.
    curves : ndarray, shape (d, K, g)
        Expected scores of the arms, averaged over patients.
    direction : int
        1 where a higher score is better, -1 where a lower one is.

    Returns
    -------
    ChosenArms
        Of an average therapist's patients, each at the alliance that is known of them: the rating,
        or the posterior mean where it is latent.
    """
    alliance = known_alliance(posterior)
    can = np.flatnonzero(posterior.design.can_have_moderator)
    patients = replace(posterior.rows.chosen(can), moderator=alliance)
    arms = tuple(range(curves.shape[1]))
    asked = Question(posterior, patients, arms)
    by_arm = asked.averaged(expected)["expected"]
    single = int((direction * by_arm.mean(axis=0)).argmax())
    middle = direction * curves.mean(axis=0)
    at_own = np.stack([np.interp(alliance, points, of_arm) for of_arm in middle])
    best = at_own.argmax(axis=0)
    # An arm that is no better than the one for all is not chosen
    best = np.where(at_own.max(axis=0) > at_own[single], best, single)
    treated = Question(posterior, replace(patients, arm_index=best.astype(np.int64)))
    gained = treated.averaged(expected)["expected"][:, 0] - by_arm[:, single]
    shares = np.bincount(best, minlength=len(arms)) / len(best)
    return ChosenArms(single, shares, direction * gained)
