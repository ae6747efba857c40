"""Ends of a scale that hold more patients than a model without ends gives them.

A normal distribution cannot pile scores up at a floor or a ceiling. Where patients do, it is moved
and widened to hold them, and its chances of scores near that end are wrong, however well the
averages hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alliance.inference.answers.score_steps import MOST_STEPS, ROUNDING, score_steps
from alliance.inference.draws.datatree import posterior
from alliance.inference.patients.asked_patients import trial_rows
from alliance.inference.runs.fit import Fit
from alliance.inference.scores.expected_scores import patient_moderator
from alliance.inference.scores.predictor import (
    TherapistChoice,
    link_scale,
    predictor_at,
    therapist_part,
)
from alliance.inference.scores.residuals import family_parameters

Array = NDArray[np.float64]

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


def heaped_ends(fit: Fit, outcome: str) -> tuple[HeapedEnd, ...]:
    """Ends that hold more patients than chance allows, were the model right.

    Parameters
    ----------
    fit : Fit
    outcome : str

    Returns
    -------
    tuple of HeapedEnd
        None of a discrete family, which gives ends their own chances. The comparison is with
        patients like those analysed, with therapists of the trial, or, where their effects are not
        kept, with new ones.
    """
    design = fit.design(outcome)
    if design.family.discrete:
        return ()
    draws = posterior(fit.trees[outcome])
    total = draws.sizes["chain"] * draws.sizes["draw"]
    draws = draws.isel(draw=slice(None, None, max(1, total // MOST_DRAWS)))
    labels = tuple(design.therapists[k] for k in design.therapist_index)
    known = not design.effects or "therapist_effect" in draws
    choice = TherapistChoice("known" if known else "new", labels)
    part = therapist_part(design, draws, choice, len(labels), np.random.default_rng(0))
    rows, moderator = trial_rows(fit, outcome), patient_moderator(design, draws)
    eta = link_scale(design, predictor_at(design, draws, rows, moderator, part))
    auxiliary = family_parameters(design, draws, fit.specs[outcome].priors)
    steps = score_steps(fit, outcome)
    scores = np.asarray(fit.patients(outcome)["outcome"].values, dtype=float)
    found = []
    for end, lowest in ((steps.low, True), (steps.high, False)):
        # Scores keep within the range; their places may be off by rounding
        slack = ROUNDING * (steps.step or (steps.high - steps.low) / MOST_STEPS)
        observed = scores <= end + slack if lowest else scores >= end - slack
        chance = steps.chance_at_most if lowest else steps.chance_at_least
        each = chance(design, auxiliary, eta, np.full(len(scores), end))
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


def chances_in_words(fit: Fit, outcome: str) -> ChanceWords:
    """What chances of an outcome's scores count, and at which ends of its scale they are off.

    Parameters
    ----------
    fit : Fit
    outcome : str
    """
    steps = score_steps(fit, outcome).words
    ends = tuple(end.words(outcome) for end in heaped_ends(fit, outcome))
    return ChanceWords(f"{outcome}: {steps}" if steps else "", ends)
