"""Scores and differences that an analyst names: none is built in.

A score is reached or not, a difference between two arms is as large or not, and a region of
differences counts as nothing. All are on the outcome's own scale. They come from the analyst, from
text such as ``pain=5``, or from the study file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.study.parts import Outcome
from alliance.data_prep.study.rules import is_difference, is_score
from alliance.inference.posterior import Posterior, Rows
from alliance.inference.scores.single_scores import ScoreSteps

Array = NDArray[np.float64]

# What the study file and the columns of tables call them.
STUDY_NAMES = {"better_by": "threshold", "equivalence": "rope", "reach": "reach"}


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What scores and differences are held against.

    Attributes
    ----------
    at_least, at_most : float, optional
        A patient's score of at least, or at most, so much.
    change : float, optional
        A patient's change from baseline of at least so much in the direction of benefit; above
        zero.
    reach : float, optional
        A patient's score: this or a better one is reached.
    better_by : float, optional
        A difference between two arms of at least so much in the direction of benefit: 5 means 5
        points lower where a lower score is better. A negative one is a margin by which an arm may
        be worse.
    equivalence : tuple of float, optional
        Region of practical equivalence (Kruschke 2018, doi:10.1177/2515245918771304) of a
        difference as it is printed, first arm minus second: (low, high).
    source : str, optional
        Where these come from, in the analyst's words.
    """

    at_least: float | None = None
    at_most: float | None = None
    change: float | None = None
    reach: float | None = None
    better_by: float | None = None
    equivalence: tuple[float, float] | None = None
    source: str | None = None

    @property
    def scores(self) -> dict[str, float]:
        """What a patient in one arm is to reach, by name."""
        named = {
            "at_least": self.at_least,
            "at_most": self.at_most,
            "change": self.change,
            "reach": self.reach,
        }
        return {name: value for name, value in named.items() if value is not None}

    @property
    def of_scores(self) -> bool:
        """Whether chances of single scores are asked for."""
        return bool(self.scores) or self.better_by is not None

    @property
    def empty(self) -> bool:
        """Whether nothing is named."""
        return not self.of_scores and self.equivalence is None

    def require(self, name: str, outcome: Outcome) -> None:
        """Refuse what the outcome's scale does not have.

        Parameters
        ----------
        name : str
            The outcome's name, for messages.
        outcome : Outcome

        Raises
        ------
        InputError
            If a score lies outside the scale, a difference is wider than it, a change is not
            above zero, or a change is asked for and the outcome has no baseline.
        """
        for key in ("at_least", "at_most", "reach"):
            if (score := getattr(self, key)) is not None:
                words = "score" if key == "reach" else f"score of {key.replace('_', ' ')}"
                require_score(f"A {words} {score:g}", score, name, outcome)
        for words, size in (("change", self.change), ("difference", self.better_by)):
            if size is not None:
                given = f"A {words} of {size:g}"
                require_difference(given, size, name, outcome, above_zero=words == "change")
        if self.equivalence is not None:
            require_region("The region of equivalence", self.equivalence, name, outcome)
        if self.change is not None and outcome.baseline is None:
            raise InputError(
                f"The outcome {name} has no baseline to change from.",
                "Ask for a score with at_least or at_most, or for another outcome.",
            )

    def completed(self, outcome: Outcome, *, whose: str = "the command line") -> Thresholds:
        """What is named, and from the study file what is not.

        Parameters
        ----------
        outcome : Outcome
            With ``[outcomes.NAME.yardstick]``, if the file has it.
        whose : str
            Where what is named comes from, if no source is given.
        """
        kept = outcome.yardstick
        if kept is None:
            return self
        added = {
            name: getattr(kept, stored)
            for name, stored in STUDY_NAMES.items()
            if getattr(self, name) is None and getattr(kept, stored) is not None
        }
        if not added:
            return self
        sources = kept.source
        if not self.empty:
            own = ", ".join(
                stored for name, stored in STUDY_NAMES.items() if getattr(self, name) is not None
            )
            sources = f"{kept.source}; {own} from {self.source or whose}"
        return replace(self, **added, source=sources)

    def chances(
        self, posterior: Posterior, eta: Array, rows: Rows, steps: ScoreSteps
    ) -> dict[str, Array]:
        """Probability that a patient reaches each score, given expected score and parameters.

        Parameters
        ----------
        posterior : Posterior
        eta : ndarray, shape (d, r)
            On the scale of the family's link.
        rows : Rows
            r rows, with the baseline that a change is counted from.
        steps : ScoreSteps
            Of the outcome's scores.

        Returns
        -------
        dict of str to ndarray, shape (d, r)
            As ``prob_at_least``.
        """
        better = posterior.direction
        bounds: dict[str, tuple[int, Array | float | None]] = {
            "at_least": (1, self.at_least),
            "at_most": (-1, self.at_most),
            "reach": (better, self.reach),
            "change": (better, None),
        }
        if self.change is not None and rows.baseline is not None:
            bounds["change"] = (better, rows.baseline + better * self.change)
        found = {}
        for name, (side, bound) in bounds.items():
            if bound is not None:
                chance = steps.chance_at_least if side > 0 else steps.chance_at_most
                every = np.broadcast_to(np.asarray(bound, dtype=float), len(rows))
                auxiliary = posterior.parameters_in(rows.arm_index)
                found[f"prob_{name}"] = chance(posterior.design, auxiliary, eta, every)
        return found

    def judge(self, differences: Array, direction: int) -> dict[str, Any]:
        """What draws (d,) of a difference between two arms say about these thresholds.

        Parameters
        ----------
        differences : ndarray, shape (d,)
            First arm minus second.
        direction : int
            1 where a higher score is better, -1 where a lower one is.

        Returns
        -------
        dict
            ``prob_better``; with `better_by` ``prob_better_by``, with a region
            ``prob_equivalent``, and both themselves as ``threshold``, ``rope_low, rope_high``.
        """
        found: dict[str, Any] = {"prob_better": (direction * differences > 0).mean()}
        if self.better_by is not None:
            found["prob_better_by"] = (direction * differences >= self.better_by).mean()
            found["threshold"] = self.better_by
        if self.equivalence is not None:
            low, high = self.equivalence
            found["prob_equivalent"] = ((differences > low) & (differences < high)).mean()
            found |= {"rope_low": low, "rope_high": high}
        return found


def require_score(given: str, score: float, name: str, outcome: Outcome) -> None:
    """Refuse a score that the outcome's scale does not have.

    Parameters
    ----------
    given : str
        As the analyst named it, for messages.
    score : float
    name : str
        The outcome's.
    outcome : Outcome

    Raises
    ------
    InputError
    """
    if not is_score(score, outcome.range):
        low, high = outcome.range
        raise InputError(
            f"{given} is outside the scale of {name}, which runs from {low:g} to {high:g}.",
            f"Give a score from {low:g} to {high:g}.",
        )


def require_difference(
    given: str, size: float, name: str, outcome: Outcome, *, above_zero: bool = False
) -> None:
    """Refuse a difference that no two scores of the outcome have: see `require_score`."""
    low, high = outcome.range
    if not is_difference(size, outcome.range):
        raise InputError(
            f"{given}: {name} runs from {low:g} to {high:g}, and no two scores are so far apart.",
            f"Give a number of points from {low - high:g} to {high - low:g}.",
        )
    if above_zero and size <= 0:
        raise InputError(
            f"{given} cannot be asked of {name}.",
            f"Give a number above 0 and up to {high - low:g}; it counts in the direction of "
            f"benefit, here {outcome.better}.",
        )


def require_region(given: str, ends: tuple[float, float], name: str, outcome: Outcome) -> None:
    """Refuse an empty region, and one of differences that there are not: see `require_score`."""
    for end in ends:
        require_difference(given, end, name, outcome)
    if not ends[0] < ends[1]:
        raise InputError(f"{given} is an empty region.", "Write LOW:HIGH with LOW below HIGH.")


def read_thresholds(
    outcomes: Mapping[str, Outcome],
    *,
    threshold: Sequence[str] = (),
    rope: Sequence[str] = (),
    reach: Sequence[str] = (),
    source: str | None = None,
) -> dict[str, Thresholds]:
    """Read thresholds and regions from text, and hold them against the outcomes' scales.

    Parameters
    ----------
    outcomes : mapping of str to Outcome
        Those asked about.
    threshold, rope, reach : sequence of str
        For `better_by`, `equivalence` and `reach`: ``5`` or ``pain=5``; ``-1:1`` or ``pain=-1:1``
        for a region. The outcome's name may be left out where there is only one.
    source : str, optional
        Where they come from. What is not named here is taken from the study file
        (``[outcomes.NAME.yardstick]``), with the source that stands there.

    Returns
    -------
    dict of str to Thresholds
        One for each outcome.

    Raises
    ------
    InputError
        If a text is no number or region, names an unknown outcome or none of several, names one
        twice, or lies outside the outcome's scale.
    """
    read = partial(_by_outcome, outcomes)
    differences = read("threshold", threshold, _difference)
    regions = read("rope", rope, _region)
    scores = read("reach", reach, _score)
    return {
        name: Thresholds(
            better_by=differences.get(name),
            equivalence=regions.get(name),
            reach=scores.get(name),
            source=source,
        ).completed(outcome)
        for name, outcome in outcomes.items()
    }


def _by_outcome[Value](
    outcomes: Mapping[str, Outcome],
    argument: str,
    texts: Sequence[str],
    read: Callable[[str, str, Outcome], Value],
) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for text in texts:
        name, named, value = text.rpartition("=")
        given = f"`{argument}={text!r}`"
        if not named:
            if len(outcomes) > 1:
                named_so = f"{next(iter(outcomes))}={text}"
                raise InputError(
                    f"{given} is in points of one outcome, and these are asked about: "
                    f"{', '.join(outcomes)}.",
                    f"Name it: `{argument}={named_so!r}`; or choose one: `outcome`.",
                )
            (name,) = outcomes
        if name not in outcomes:
            raise InputError(
                f"{given}: there is no outcome {name!r} among those asked about.",
                nearest(name, outcomes),
            )
        if name in found:
            raise InputError(f"`{argument}` is given twice for the outcome {name!r}.", "Give one.")
        found[name] = read(given, value, outcomes[name])
    return found


def _number(given: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{given}: {text.strip()!r} is not a number.", "Write for example 2.5.")
    return value


def _difference(given: str, text: str, outcome: Outcome) -> float:
    value = _number(given, text)
    require_difference(given, value, outcome.label, outcome)
    return value


def _region(given: str, text: str, outcome: Outcome) -> tuple[float, float]:
    ends = text.split(":")
    if len(ends) != 2:
        raise InputError(f"{given} is not a region.", "Write LOW:HIGH, for example -1:1.")
    low, high = (_number(given, end) for end in ends)
    require_region(given, (low, high), outcome.label, outcome)
    return low, high


def _score(given: str, text: str, outcome: Outcome) -> float:
    value = _number(given, text)
    require_score(given, value, outcome.label, outcome)
    return value
