"""What therapists that an analysis ignored do to a printed interval.

Patients of one therapist are alike: a share of the outcome's variance lies between therapists, or
between their slopes of the alliance. A linear model of independent patients then prints a standard
error that is too small, or too large. The design effect is the true variance of its estimate over
the mean of the variance that it prints, for therapists with equal numbers of patients:

- therapists nested in arms, m patients each: ``(1 + (m - 1) s) / (1 - (m - 1) s / (n - 1))`` of n
  patients in an arm (Kish 1965; the divisor is what the residual variance loses);
- therapists crossed with arms, m patients each in an arm: their means cancel from the contrast,
  ``(1 - s) / (1 - (m - 1) s / (n - 1))``, which is below one;
- slopes of the alliance that vary, with a share s of the variance at the alliance's SD, m patients
  each: ``(1 + (m + 1) s) (n - 2) / (n - 2 - (m + 1) s)`` for a normal alliance that does not differ
  between therapists (Var of sum x^2 v over (sum x^2)^2; Moulton 1986).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from alliance.data_prep.errors import InputError

Design = Literal["nested", "crossed", "slopes"]
DESIGNS: tuple[Design, ...] = ("nested", "crossed", "slopes")
LARGEST = 1 - 1e-9  # of a share of variance


@dataclass(frozen=True, slots=True)
class Clustering:
    """How the therapists of a printed analysis shared its patients.

    Attributes
    ----------
    design : {"nested", "crossed", "slopes"}
    arm : tuple of float
        Patients of each arm of the contrast; for slopes all patients, alone.
    therapists : float
        For each arm: of nested arms those of one arm, else all.
    """

    design: Design
    arm: tuple[float, ...]
    therapists: float

    def effect(self, share: float) -> float:
        """The design effect at a share of variance.

        Parameters
        ----------
        share : float
            Between 0 and 1.
        """
        if self.design == "slopes":
            (everyone,) = self.arm
            more = (everyone / self.therapists + 1) * share
            return (1 + more) * (everyone - 2) / (everyone - 2 - more)
        true = printed = 0.0
        lost = 0.0
        for patients in self.arm:
            each = patients / self.therapists
            extra = (each - 1) * share if self.design == "nested" else -share
            true += (1 + extra) / patients
            printed += 1 / patients
            lost += 1 + (each - 1) * share
        everyone = sum(self.arm)
        residual = (everyone - lost) / (everyone - len(self.arm))
        return true / (printed * residual)

    def tipping(self, ratio: float) -> float:
        """The share at which a widened interval just reaches no effect.

        Parameters
        ----------
        ratio : float
            The estimate's size in halves of its printed interval.

        Returns
        -------
        float
            NaN where the printed interval holds no effect already; infinite where no share would
            make it.
        """
        if ratio <= 1:
            return math.nan
        wanted = ratio**2
        low, high = 0.0, LARGEST
        if self.effect(high) < wanted or self.design == "crossed":
            return math.inf
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (middle, high) if self.effect(middle) < wanted else (low, middle)
        return (low + high) / 2


def clustering(
    design: Design,
    *,
    arms: tuple[float, float] | None,
    everyone: float | None,
    therapists: int,
    arms_of_trial: int = 2,
) -> Clustering | None:
    """How so many therapists would share the patients; None where there are too few patients.

    Parameters
    ----------
    design : {"nested", "crossed", "slopes"}
    arms : tuple of float, optional
        Patients of the two arms of a contrast.
    everyone : float, optional
        Patients of the analysis, for slopes.
    therapists : int
        Of the trial.
    arms_of_trial : int
        Among which nested therapists are divided.

    Raises
    ------
    InputError
        If there is no therapist.
    """
    if therapists < 1:
        raise InputError(f"{therapists} is no number of therapists.", "Give 1 or more.")
    if design == "slopes":
        if everyone is None or everyone <= max(therapists, 3):
            return None
        return Clustering(design, (everyone,), float(therapists))
    if arms is None:
        return None
    each = therapists / arms_of_trial if design == "nested" else float(therapists)
    if each < 1 or min(arms) <= each:
        return None
    return Clustering(design, arms, each)
