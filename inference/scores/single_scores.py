"""Single patients around their expected scores: outcomes at a rank, and chances beyond a bound.

A patient's outcome is what the family says at the patient's rank: the share of the distribution,
given expected score and parameters, that lies below. The rank is drawn once for each posterior draw
and patient and kept from arm to arm, so that two arms are compared for one and the same patient.
Continuous families and ordered categories keep the residual itself (the same normal, t or logistic
deviate of the score or of the latent variable), which is the same rank, and so do events; bounded
whole scores and counts take the quantile at the same uniform number. No trial can tell how the two
outcomes of one patient go together: chances that one is better than the other rest on this
assumption, expected scores do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from alliance.inference.draws.summaries import by_columns
from alliance.inference.posterior import Posterior
from alliance.inference.scores.questions import Question, own_alliance
from alliance.inference.scores.therapist_parts import TherapistChoice, therapist_part
from alliance.models.design.design import Design
from alliance.models.families.events_and_counts import BINARY, chance_of_count, count_at_rank
from alliance.models.families.family import Auxiliary

Array = NDArray[np.float64]

ROUNDING = 1e-9
# Distribution functions of the latent variables of ordered categories.
LATENT: dict[str, Callable[[Array], Array]] = {
    "cumulative logit": special.expit,
    "cumulative probit": special.ndtr,
}


def residual_draws(
    design: Design, auxiliary: Auxiliary, shape: tuple[int, int], generator: np.random.Generator
) -> Array:
    """Draw what places a patient within the outcome's distribution.

    Parameters
    ----------
    design : Design
    auxiliary : mapping of str to ndarray
        The family's own parameters.
    shape : tuple of int
        d draws and n patients.
    generator : numpy.random.Generator
        Used patient after patient, so that the draws do not depend on the blocks they come in.

    Returns
    -------
    ndarray, shape (d, n)
        Standardised residuals; uniform numbers for bounded whole scores and counts.
    """
    draws, patients = shape
    turned = (patients, draws)
    if "degrees_of_freedom" in auxiliary:
        freedom = np.broadcast_to(auxiliary["degrees_of_freedom"].T, turned)
        return generator.standard_t(freedom).T
    link = design.family.link
    if link in ("identity", "cumulative probit"):
        return generator.standard_normal(turned).T
    if link == "cumulative logit" or design.family.name == BINARY.name:
        return generator.logistic(size=turned).T
    return generator.random(turned).T


def scores_at(design: Design, auxiliary: Auxiliary, eta: Array, residual: Array) -> Array:
    """Outcomes of patients at their rank, on the outcome's own scale.

    Parameters
    ----------
    design : Design
    auxiliary : mapping of str to ndarray
    eta : ndarray, shape (d, r)
        On the scale of the family's link.
    residual : ndarray, shape (d, r)
        As from `residual_draws`, a column for each row.

    Returns
    -------
    ndarray, shape (d, r)
    """
    scale = design.scale
    if design.family.link == "identity":
        own = eta + auxiliary["residual_sd"] * residual
    elif "cutpoint" in auxiliary:
        own = by_columns(
            eta.shape, lambda some: _category(eta[:, some] + residual[:, some], auxiliary)
        )
    elif "overdispersion" in auxiliary:
        own = by_columns(
            eta.shape, lambda some: count_at_rank(eta[:, some], auxiliary, residual[:, some])
        )
    elif design.family.name == BINARY.name:
        own = (eta + residual > 0).astype(float)
    else:
        precision = auxiliary["precision"]
        own = by_columns(
            eta.shape, lambda some: _quantile(eta[:, some], precision, scale.top, residual[:, some])
        )
    return scale.offset + scale.unit * own


def chance_at_least(design: Design, auxiliary: Auxiliary, eta: Array, bound: Array) -> Array:
    """Probability of a score of at least `bound`, given expected score and parameters.

    Parameters
    ----------
    design : Design
    auxiliary : mapping of str to ndarray
    eta : ndarray, shape (d, r)
        On the scale of the family's link.
    bound : ndarray, shape (r,)
        On the outcome's own scale.

    Returns
    -------
    ndarray, shape (d, r)
    """
    scale = design.scale
    own = (bound - scale.offset) / scale.unit
    if design.family.discrete:
        return _chance_from_category(design, auxiliary, eta, np.ceil(own - ROUNDING).astype(int))
    standard = (eta - own) / auxiliary["residual_sd"]
    if "degrees_of_freedom" in auxiliary:
        return np.asarray(special.stdtr(auxiliary["degrees_of_freedom"], standard))
    return np.asarray(special.ndtr(standard))


def chance_at_most(design: Design, auxiliary: Auxiliary, eta: Array, bound: Array) -> Array:
    """Probability of a score of at most `bound`: see `chance_at_least`."""
    if not design.family.discrete:
        return 1 - chance_at_least(design, auxiliary, eta, bound)
    own = (bound - design.scale.offset) / design.scale.unit
    above = np.floor(own + ROUNDING).astype(int) + 1
    return 1 - _chance_from_category(design, auxiliary, eta, above)


def _chance_from_category(
    design: Design, auxiliary: Auxiliary, eta: Array, category: NDArray[np.int64]
) -> Array:
    top = design.scale.top
    if "overdispersion" in auxiliary:
        return chance_of_count(eta, auxiliary, category)
    inside = np.clip(category, 1, top)
    if design.family.name == BINARY.name:
        chance = special.expit(eta)
    elif "cutpoint" in auxiliary:
        chance = LATENT[design.family.link](eta - auxiliary["cutpoint"][:, inside - 1])
    else:
        precision = auxiliary["precision"]
        chance = by_columns(
            eta.shape, lambda some: _upper_tail(eta[:, some], precision, top, inside[some])
        )
    return np.where(category < 1, 1.0, np.where(category > top, 0.0, chance))


def _category(latent: Array, auxiliary: Auxiliary) -> Array:
    """How many cutpoints lie below the latent variable."""
    found = np.zeros_like(latent)
    for cutpoint in auxiliary["cutpoint"].T:
        found += latent > cutpoint[:, None]
    return found


def _cumulative(eta: Array, precision: Array, top: int) -> Iterator[Array]:
    """``P(y <= k)`` of a beta-binomial for k = 0, 1, .. below `top`; for eta up to 0.

    By the ratio of neighbouring probabilities. From the end that the mean is nearer to, the first
    of them does not underflow: it is at least ``2 ** -top``. The array is changed in place.
    """
    a, b = special.expit(eta) * precision, special.expit(-eta) * precision
    log_first = (
        special.gammaln(top + b)
        - special.gammaln(b)
        + special.gammaln(precision)
        - special.gammaln(top + precision)
    )
    mass = np.exp(log_first)
    total = mass.copy()
    for k in range(top):
        yield total
        mass *= a
        mass *= (top - k) / (k + 1)
        mass /= b + (top - k - 1)  # not counted down in place: a small b would be rounded away
        total += mass
        a += 1


def _quantile(eta: Array, precision: Array, top: int, uniform: Array) -> Array:
    turned = eta > 0  # counted from the upper end
    rank = np.where(turned, 1 - uniform, uniform)
    found = np.zeros_like(eta)
    for total in _cumulative(-np.abs(eta), precision, top):
        beyond = total < rank
        if not beyond.any():
            break
        found += beyond
    return np.where(turned, top - found, found)


def _upper_tail(eta: Array, precision: Array, top: int, category: Any) -> Array:
    """``P(y >= category)`` for categories from 1 to `top`, one for each column."""
    turned = eta > 0
    last = np.where(turned, top - category, category - 1)  # the last one counted
    found, wanted = np.zeros_like(eta), {*(top - category), *(category - 1)}
    for k, total in enumerate(_cumulative(-np.abs(eta), precision, top)):
        if k in wanted:
            np.copyto(found, total, where=last == k)
            wanted.discard(k)
        if not wanted:
            break
    return np.where(turned, found, 1 - found)


MOST_STEPS = 1000  # of a range; half a step of a finer scale is less than 1/2000 of it
STEP_ROUNDING = 1e-3  # of a step, by which a score may miss its place: single precision loses less


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
            The family's own parameters.
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
        lowest = np.ceil(self._places(bound) - STEP_ROUNDING)
        chance = chance_at_least(design, auxiliary, eta, self.low + (lowest - 0.5) * self.step)
        return np.where(lowest <= 0, 1.0, np.where(lowest > self._top, 0.0, chance))

    def chance_at_most(
        self, design: Design, auxiliary: Auxiliary, eta: Array, bound: Array
    ) -> Array:
        """Probability that a score of at most `bound` is recorded: see `chance_at_least`."""
        if not self.step:
            return chance_at_most(design, auxiliary, eta, bound)
        highest = np.floor(self._places(bound) + STEP_ROUNDING)
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
        return float(np.floor((self.high - self.low) / self.step + STEP_ROUNDING))

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
    gaps = gaps[gaps > STEP_ROUNDING * finest]
    if not len(gaps):
        return 0.0
    gap = float(gaps.min())  # a whole number of steps itself
    few = above[:: max(1, len(above) // 50)]  # enough to refuse most steps
    for parts in range(1, int(gap / finest * (1 + STEP_ROUNDING)) + 1):
        step = gap / parts
        if _whole(few / step) and _whole(above / step):
            return float(_exact(above, step))
    return 0.0


def _exact(above: Array, step: float) -> Array:
    """The step from the farthest score, which loses the fewest digits."""
    return np.asarray(above[-1] / np.rint(above[-1] / step))


def _whole(places: Array) -> bool:
    return bool((np.abs(places - np.rint(places)) <= STEP_ROUNDING).all())


def score_steps(posterior: Posterior) -> ScoreSteps:
    """Steps of an outcome's scores, as its analysed patients have them.

    Parameters
    ----------
    posterior : Posterior
    """
    low, high = posterior.outcome.range
    if posterior.design.family.discrete or posterior.rowless:  # nobody's score is known
        return ScoreSteps(low, high)
    scores = np.asarray(posterior.patients["outcome"].values, dtype=float)
    return ScoreSteps(low, high, common_step(scores, (low, high)))


MOST_DRAWS = 200  # enough: the share at an end is known to a fraction of its own chance
BEYOND_CHANCE = 3.0  # standard errors of a new trial's share
LEAST = 0.02  # of the patients; what lies closer moves no share that is told with two digits


@dataclass(frozen=True, slots=True)
class HeapedEnd:
    """An end of the scale with more patients than the model expects.

    Attributes
    ----------
    score : float
        The end.
    lowest : bool
        Whether it is the lower one.
    observed, expected : float
        Share of the analysed patients there, and as the model has it.
    family : str
    """

    score: float
    lowest: bool
    observed: float
    expected: float
    family: str

    def words(self, outcome: str) -> str:
        """What that means for chances, in a sentence.

        Parameters
        ----------
        outcome : str
            Its name or label.
        """
        end = "lowest" if self.lowest else "highest"
        law = "t distribution" if self.family == "student_t" else "normal distribution"
        return (
            f"{outcome}: {self.observed:.0%} of the patients have the {end} score, "
            f"{self.score:g}, where the {law} expects {self.expected:.0%}: chances of scores near "
            "that end are off. A family for bounded scores (ordinal, beta_binomial; "
            '`likelihood="native"`) keeps to the scale.'
        )


def heaped_ends(posterior: Posterior) -> tuple[HeapedEnd, ...]:
    """Ends that hold more patients than chance allows, were the model right.

    Parameters
    ----------
    posterior : Posterior

    Returns
    -------
    tuple of HeapedEnd
        None of a discrete family, which gives ends their own chances. The comparison is with
        patients like those analysed, with therapists of the trial, or, where their effects are not
        kept, with new ones.
    """
    design, steps, scores = posterior.design, score_steps(posterior), posterior.scores
    if design.family.discrete:
        return ()
    every = max(1, posterior.total // MOST_DRAWS)
    thinned = posterior.part(posterior.draws.isel(draw=slice(None, None, every)))
    labels = design.labels
    known = not design.effects or "therapist_effect" in thinned.draws
    choice = TherapistChoice("known" if known else "new", labels)
    generator = None if known else posterior.generator("predictions")
    part = therapist_part(thinned, choice, len(labels), generator)
    asked = Question(thinned, posterior.rows, alliance=own_alliance(thinned), therapists=(part,))
    eta = asked.each(lambda _posterior, eta, _rows: {"eta": eta})["eta"][..., 0]
    found = []
    for end, lowest in ((steps.low, True), (steps.high, False)):
        # Scores keep within the range; their places may be off by rounding
        slack = STEP_ROUNDING * (steps.step or (steps.high - steps.low) / MOST_STEPS)
        observed = scores <= end + slack if lowest else scores >= end - slack
        chance = steps.chance_at_most if lowest else steps.chance_at_least
        bound = np.full(len(scores), end)
        auxiliary = thinned.parameters_in(posterior.rows.arm_index)
        each = chance(design, auxiliary, eta, bound)
        share = each.mean(axis=1)
        variance = share.var() + (each * (1 - each)).sum(axis=1).mean() / len(scores) ** 2
        excess = float(observed.mean() - share.mean())
        if excess > max(LEAST, BEYOND_CHANCE * float(np.sqrt(variance))):
            found.append(
                HeapedEnd(
                    end, lowest, float(observed.mean()), float(share.mean()), design.family.name
                )
            )
    return tuple(found)


@dataclass(frozen=True, slots=True)
class ChanceWords:
    """What must be known beside chances of scores; each a sentence with the outcome's name.

    Attributes
    ----------
    steps : str
        What the chances count; empty where scores have no steps.
    ends : tuple of str
        Ends of the scale near which they are off.
    """

    steps: str = ""
    ends: tuple[str, ...] = ()


NOTHING_COUNTED = ChanceWords()


def chances_in_words(posterior: Posterior) -> ChanceWords:
    """What chances of an outcome's scores count, and at which ends of its scale they are off.

    Parameters
    ----------
    posterior : Posterior
    """
    steps = score_steps(posterior).words
    ends = tuple(end.words(posterior.name) for end in heaped_ends(posterior))
    return ChanceWords(f"{posterior.name}: {steps}" if steps else "", ends)
