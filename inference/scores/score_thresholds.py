"""Scores and changes that an analyst names: none is built in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError
from alliance.data_prep.study.parts import Outcome
from alliance.inference.answers.score_steps import ScoreSteps
from alliance.inference.posterior import Rows
from alliance.models.design.design import Design
from alliance.models.families.family import Auxiliary

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What a patient is to reach, on the outcome's own scale.

    Attributes
    ----------
    at_least, at_most : float, optional
        A score of at least, or at most, so much.
    change : float, optional
        A change from baseline of at least so much in the direction of benefit; above zero.
    better_by : float, optional
        A difference between two arms of at least so much in the direction of benefit.
    """

    at_least: float | None = None
    at_most: float | None = None
    change: float | None = None
    better_by: float | None = None

    @property
    def asked(self) -> dict[str, float]:
        """Thresholds for a patient in one arm, by name."""
        named = {"at_least": self.at_least, "at_most": self.at_most, "change": self.change}
        return {name: value for name, value in named.items() if value is not None}

    @property
    def of_scores(self) -> bool:
        """Whether chances of single scores are asked for."""
        return bool(self.asked) or self.better_by is not None

    def require(self, name: str, outcome: Outcome) -> None:
        """Refuse thresholds that the outcome's scale does not have.

        Parameters
        ----------
        name : str
            The outcome's name, for messages.
        outcome : Outcome

        Raises
        ------
        InputError
            If a score lies outside the scale, a difference is not between zero and its width, or
            a change is asked for and the outcome has no baseline.
        """
        low, high = outcome.range
        scale = f"The scale of {name} goes from {low:g} to {high:g}."
        for words, score in (("at least", self.at_least), ("at most", self.at_most)):
            if score is not None and not low <= score <= high:
                raise InputError(f"No score of {name} is {words} {score:g}.", scale)
        for words, size in (("change", self.change), ("difference", self.better_by)):
            if size is not None and not 0 < size <= high - low:
                raise InputError(
                    f"A {words} of {size:g} cannot be asked of {name}.",
                    f"{scale} Give a number above 0 and up to {high - low:g}; a change or "
                    f"difference counts in the direction of benefit, here {outcome.better}.",
                )
        if self.change is not None and outcome.baseline is None:
            raise InputError(
                f"The outcome {name} has no baseline to change from.",
                "Ask for a score with at_least or at_most, or for another outcome.",
            )

    def chances(
        self,
        design: Design,
        auxiliary: Auxiliary,
        eta: Array,
        rows: Rows,
        better: str,
        steps: ScoreSteps,
    ) -> dict[str, Array]:
        """Probability of reaching each threshold, given expected score and parameters.

        Parameters
        ----------
        design : Design
        auxiliary : mapping of str to ndarray
            The family's own parameters, (d, 1) or (d, K - 1).
        eta : ndarray, shape (d, r)
            On the scale of the family's link.
        rows : Rows
            r rows, with the baseline that a change is counted from.
        better : {"higher", "lower"}
        steps : ScoreSteps
            Of the outcome's scores.

        Returns
        -------
        dict of str to ndarray, shape (d, r)
        """
        found = {}
        if self.at_least is not None:
            bound = np.full(len(rows), self.at_least)
            found["at_least"] = steps.chance_at_least(design, auxiliary, eta, bound)
        if self.at_most is not None:
            bound = np.full(len(rows), self.at_most)
            found["at_most"] = steps.chance_at_most(design, auxiliary, eta, bound)
        if self.change is not None and rows.baseline is not None:
            if better == "higher":
                bound = rows.baseline + self.change
                found["change"] = steps.chance_at_least(design, auxiliary, eta, bound)
            else:
                bound = rows.baseline - self.change
                found["change"] = steps.chance_at_most(design, auxiliary, eta, bound)
        return found
