"""Means and contrasts of a run under assumptions about the scores that were not seen.

See `inference.answers.unseen_visits` for what is assumed and computed. An outcome with one
follow-up is an outcome of one visit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq

from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.levels import contrast_names, find_arm
from alliance.data_prep.study.description import Study
from alliance.inference.answers.unseen_visits import (
    AssumedMeans,
    LeftGroup,
    adjusted_weights,
    assumed_means,
    expected_above,
    tipping_shift,
)
from alliance.inference.draws.summaries import quantiles, tails
from alliance.inference.estimands.missing_outcomes import unseen_patients
from alliance.inference.estimands.over_time import residual_covariances, visit_positions
from alliance.inference.posterior import Posterior
from alliance.models.design.encoding import sum_to_zero_basis

Array = NDArray[np.float64]

MEAN, CONTRAST, TIPPING = "arm_mean", "arm_contrast", "tipping_shift"
TIPPING_ANCHORED = "tipping_shift_information_anchored"
COLUMNS = (
    "outcome",
    "quantity",
    "level",
    "visit",
    "assumption",
    "reference",
    "mean",
    "sd",
    "sd_information_anchored",
    "lower",
    "upper",
    "prob_better",
    "per_point",
)


@dataclass(frozen=True, eq=False, slots=True)
class Courses:
    """Arms' means at every visit under one assumption.

    Attributes
    ----------
    posteriors : tuple of Posterior
        Of the outcome at each visit.
    found : AssumedMeans
    assumption, reference : str
    shifts : dict of str to float
        Of unseen scores, by arm.
    """

    posteriors: tuple[Posterior, ...]
    found: AssumedMeans
    assumption: str
    reference: str
    shifts: dict[str, float]

    def shifted(self, arm: str, points: float) -> Courses:
        """The same with unseen scores of an arm shifted by so many points more."""
        delta = self.shifts | {arm: self.shifts.get(arm, 0.0) + points}
        return courses(self.posteriors, self.assumption, reference=self.reference, delta=delta)

    @property
    def outcome(self) -> str:
        """The outcome over time, or with one follow-up."""
        return self.posteriors[0].outcome.visit_of or self.posteriors[0].name

    @property
    def study(self) -> Study:
        """The study that the outcome is one of."""
        return self.posteriors[0].study


def courses(
    posteriors: Sequence[Posterior],
    assumption: str = "mar",
    *,
    reference: str | None = None,
    delta: Mapping[str, float] | None = None,
) -> Courses:
    """Arms' means when those who left are taken to follow another course.

    Parameters
    ----------
    posteriors : sequence of Posterior
        Of an outcome at all its visits in the order of time, or of one with one follow-up.
    assumption : {"mar", "j2r", "cir", "cr"}
    reference : str, optional
        Code or label of the arm that those who left are assumed to follow; by default the first.
    delta : mapping of str to float, optional
        By arm, its code or its label: added to every score that was not seen.

    Returns
    -------
    Courses
        Patients who lack baseline, alliance, arm or covariates are in no mean; those without any
        visit count as unseen at all, with the means of their arm's columns.

    Raises
    ------
    InputError
        If a visit of the outcome is not among them, the study has no such arm, or the outcome's
        link is curved.
    """
    first = posteriors[0]
    study, arms = first.study, list(first.study.arms)
    visit_of = first.outcome.visit_of
    if len(posteriors) == 1 and visit_of is not None:
        raise InputError(
            f"{first.name} is one visit of {visit_of}, and those who left it had others.",
            f"Ask about {visit_of}.",
        )
    if first.design.family.link != "identity":
        raise InputError(
            f"Assumptions about unseen scores need straight lines, and {first.name} has none.",
            'Fit it with likelihood = "published".',
        )
    chosen = arms[0] if reference is None else _arm(study, reference)
    shifts = {arms.index(_arm(study, arm)): float(own) for arm, own in (delta or {}).items()}
    X, Y, arm = _patients(posteriors)
    seen = ~np.isnan(Y)
    basis, encoding = sum_to_zero_basis(len(arms)), first.design.encoding
    beta = np.stack([own.beta for own in posteriors], axis=1)  # (d, V, p)
    unit = encoding.scaling.outcome[1]
    label = np.column_stack([arm, seen])
    kinds, which, counts = np.unique(label, axis=0, return_inverse=True, return_counts=True)
    which = which.ravel()

    def in_arm(rows: Array, k: int) -> Array:
        moved = rows.copy()
        moved[:, encoding.places("arm")] = basis[k]
        (moderator,), own = encoding.places("moderator"), encoding.slope_weights[k]
        # Of an arm without ratings, and in one of its patients' place, the mean: zero
        moved[:, [moderator, *encoding.places("interaction")]] = rows[:, [moderator]] * own
        return moved

    centre = X.mean(axis=0, keepdims=True)
    places = np.concatenate([in_arm(centre, k) for k in range(len(arms))])
    weights = adjusted_weights(X, places, which)
    position = arms.index(chosen)
    residual = residual_covariances([own.draws for own in posteriors])
    of_arms = unit**2 * residual[:, first.design.nesting.group_of(np.arange(len(arms)))]
    groups = []
    for number, kind in enumerate(kinds):
        rows, own = X[which == number], kind[1:].astype(bool)
        apart = (rows - in_arm(rows, position)).mean(axis=0)
        left = unit * (Y[which == number].mean(axis=0) - beta @ rows.mean(axis=0))
        groups.append(
            LeftGroup(
                int(kind[0]),
                own,
                int(counts[number]),
                weights[number],
                unit * (beta @ apart),
                expected_above(own, left, of_arms[:, kind[0]]),
            )
        )
    centres = np.array([own.design.scaling.outcome[0] for own in posteriors])
    means = centres + unit * np.einsum("kp,dvp->dkv", places, beta)
    found = assumed_means(means, groups, of_arms, assumption, shifts, position)
    named = {arms[k]: own for k, own in shifts.items()}
    return Courses(tuple(posteriors), found, assumption, chosen, named)


def course_table(found: Courses, *, interval: float = 0.95) -> pd.DataFrame:
    """Means of arms and their contrasts, visit by visit.

    Parameters
    ----------
    found : Courses
    interval : float
        Probability of the equal-tailed intervals.

    Returns
    -------
    pandas.DataFrame
        Columns as in `COLUMNS`: ``arm_mean`` and ``arm_contrast`` (later arm minus earlier) with
        ``sd``, of the posterior under the assumption, and of contrasts ``sd_information_anchored``;
        ``prob_better``, of a benefit of the later arm; ``per_point``, how far a contrast moves for
        each point that unseen scores of its later arm are shifted by.
    """
    rows = []
    direction, means = found.posteriors[0].direction, found.found.means
    arms = list(found.study.arms)
    for v, posterior in enumerate(found.posteriors):
        own: list[tuple[str, str, Array, tuple[int, int] | None]]
        own = [(MEAN, arms[k], means[:, k, v], None) for k in range(len(arms))]
        names = contrast_names(tuple(arms))
        for earlier, later in combinations(range(len(arms)), 2):
            drawn = means[:, later, v] - means[:, earlier, v]
            own.append((CONTRAST, names[later, earlier], drawn, (later, earlier)))
        for quantity, level, drawn, pair in own:
            lower, upper = quantiles(drawn[None], tails(interval), axis=1)
            moved = found.found.per_point
            rows.append(
                {
                    "outcome": found.outcome,
                    "quantity": quantity,
                    "level": level,
                    "visit": posterior.outcome.visit or "",
                    "assumption": found.assumption,
                    "reference": found.reference,
                    "mean": drawn.mean(),
                    "sd": drawn.std(ddof=1),
                    "sd_information_anchored": (
                        np.nan if pair is None else found.found.anchored[(*pair, v)]
                    ),
                    "lower": float(lower[0]),
                    "upper": float(upper[0]),
                    "prob_better": (
                        np.nan if pair is None else float((direction * drawn > 0).mean())
                    ),
                    "per_point": (
                        np.nan
                        if pair is None
                        else moved[pair[0], pair[0], v] - moved[pair[1], pair[0], v]
                    ),
                }
            )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def tipping_table(found: Courses, *, probability: float = 0.975, points: int = 9) -> pd.DataFrame:
    """Where a benefit is lost: the chance of one over shifts of unseen scores in both arms.

    Parameters
    ----------
    found : Courses
    probability : float
        The chance of a benefit that is to be kept.
    points : int
        Shifts of each arm: evenly from none to twice the shift that tips, or a fifth of the range.

    Returns
    -------
    pandas.DataFrame
        One row for each contrast at the last visit, and shifts of its later and earlier arm:
        ``outcome, level, visit, shift_later, shift_earlier, prob_better, tipping_shift,
        tipping_shift_information_anchored``. The last two are the shifts of the later arm alone
        that leave just ``probability``, of the posterior, and with the draws spread about their
        mean as the information-anchored SD has it at that shift: where multiple imputation with
        Rubin's rules loses significance. Missing where the chance is not so high without any.
    """
    if not 0.5 < probability < 1:
        raise InputError(
            f"A chance of {probability:g} cannot be lost.", "Give one above 0.5 and below 1."
        )
    described, direction = found.posteriors[-1].outcome, found.posteriors[-1].direction
    low, high = described.range
    means, moved = found.found.means[..., -1], found.found.per_point[..., -1]
    arms, rows = list(found.study.arms), []
    names = contrast_names(tuple(arms))
    for earlier, later in combinations(range(len(arms)), 2):
        drawn = means[:, later] - means[:, earlier]
        share = float(moved[later, later] - moved[earlier, later])
        other = float(moved[later, earlier] - moved[earlier, earlier])
        tips = tipping_shift(drawn, share, probability, direction)
        anchored = _anchored_tip(found, drawn, (later, earlier), share, probability)
        widest = 2 * tips if tips is not None else -direction * (high - low) / 5
        for own in np.linspace(0, widest, points):
            for beside in np.linspace(0, widest, points):
                chance = (direction * (drawn + share * own + other * beside) > 0).mean()
                rows.append(
                    {
                        "outcome": found.outcome,
                        "level": names[later, earlier],
                        "visit": described.visit or "",
                        "shift_later": own,
                        "shift_earlier": beside,
                        "prob_better": float(chance),
                        TIPPING: np.nan if tips is None else tips,
                        TIPPING_ANCHORED: np.nan if anchored is None else anchored,
                    }
                )
    return pd.DataFrame(rows)


def _anchored_tip(
    found: Courses, drawn: Array, pair: tuple[int, int], share: float, probability: float
) -> float | None:
    """The shift that leaves a chance, where the draws spread as the information-anchored SD."""
    later, direction = list(found.study.arms)[pair[0]], found.posteriors[-1].direction
    mean, sd = drawn.mean(), drawn.std(ddof=1)
    away = (mean - np.quantile(drawn, 1 - probability if direction > 0 else probability)) / sd

    # A variance of shifted scores is a parabola in the shift: three points tell it
    some = np.array([0.0, 1.0, 2.0])
    spreads = [found.shifted(later, shift).found.anchored[(*pair, -1)] for shift in some]
    parabola = np.polyfit(some, np.square(spreads), 2)

    def kept(shift: float) -> float:
        spread = np.sqrt(np.polyval(parabola, shift))
        return float(direction * (mean + share * shift - away * spread))

    if share <= 0 or kept(0.0) <= 0:
        return None
    end = -direction * abs(mean) / share  # where nothing of the benefit is left
    return float(brentq(kept, 0.0, end))


def _arm(study: Study, named: str) -> str:
    found = find_arm(study.arms, named)
    if found is None:
        raise InputError(f"The study has no arm {named!r}.", nearest(named, study.arms))
    return found


def _patients(
    posteriors: Sequence[Posterior],
) -> tuple[Array, Array, NDArray[np.int64]]:
    """Rows of X, scores or NaN, and arms, of all who could have been analysed at some visit."""
    first, names = posteriors[0], [own.name for own in posteriors]
    positions = {first.name: np.arange(len(first.design.y))}
    if first.outcome.visit_of is not None:
        positions = visit_positions(first.manifest, first.outcome.visit_of)
    total = 1 + max(int(own.max()) for own in positions.values())
    X = np.zeros((total, len(first.design.coefficients)))
    arm, Y = np.zeros(total, dtype=np.int64), np.full((total, len(names)), np.nan)
    for v, own in enumerate(posteriors):
        rows = positions[own.name]
        X[rows], arm[rows], Y[rows, v] = own.design.X, own.rows.arm_index, own.design.y
    # Those without any visit: in the manifest as counts, here with their arm's mean columns
    eligible = [
        max(unseen_patients(first.study, first.manifest, name)[code][1] for name in names)
        for code in first.study.arms
    ]
    never = [max(0, count - int((arm == k).sum())) for k, count in enumerate(eligible)]
    extra = [np.tile(X[arm == k].mean(axis=0), (count, 1)) for k, count in enumerate(never)]
    absent = np.full((sum(never), len(names)), np.nan)
    return (
        np.concatenate([X, *extra]),
        np.concatenate([Y, absent]),
        np.concatenate([arm, np.repeat(np.arange(len(never)), never)]),
    )
