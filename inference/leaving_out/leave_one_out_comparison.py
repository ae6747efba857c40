"""Fits of the same patients compared by how well they predict those left out.

Differences of elpd with their standard errors, and words that say no more than these allow. The
standard error of a small difference, or of one over few units, is too small, and its distribution
is far from normal (Sivula et al. 2020, arXiv:2008.10296).

A density is no probability: a Gaussian or Student-t fit can be set beside one of bounded scores
only by the probability that it gives to the unit interval around each whole score, from half a
point below to half a point above.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from alliance.data_prep.cell_moments import NOBODY
from alliance.data_prep.errors import InputError
from alliance.inference.leaving_out.leave_one_out import (
    By,
    LeaveOneOut,
    leave_one_out,
    log_mean_exp,
    spread_of_sum,
)
from alliance.inference.leaving_out.therapists import (
    Refits,
    Told,
    leave_clinic_out,
    leave_therapist_out,
)
from alliance.inference.leaving_out.visits import leave_visits_out, leave_visits_therapist_out
from alliance.inference.pointwise.log_likelihood import own_predictor
from alliance.inference.posterior import Posterior
from alliance.inference.scores.questions import own_link
from alliance.inference.scores.single_scores import chance_at_least, chance_at_most

Array = NDArray[np.float64]

SMALL_DIFFERENCE = 4.0
"""Differences of elpd below this are of models that predict alike (Sivula et al. 2020)."""

FEW_UNITS = 100
"""Units below which the standard error of a difference is unreliable (the same source)."""

CLEAR = 2.0
"""Standard errors that a difference must reach before one fit is said to predict better."""

SAME = ("outcome", "arm_index", "moderator", "therapist")


@dataclass(frozen=True, eq=False, slots=True)
class LooComparison:
    """Fits of one outcome, the best predicting one first.

    Attributes
    ----------
    outcome : str
    by : {"patient", "therapist", "clinic"}
    names : tuple of str
    results : tuple of LeaveOneOut
        In the order of `names`.
    whole_scores : bool
        Whether all are probabilities of whole scores, because continuous and discrete families
        were compared.
    """

    outcome: str
    by: By
    names: tuple[str, ...]
    results: tuple[LeaveOneOut, ...]
    whole_scores: bool

    @property
    def table(self) -> pd.DataFrame:
        """One row for each fit: elpd, its difference from the best with standard error, words."""
        best = self.results[0]
        rows = []
        for name, found in zip(self.names, self.results, strict=True):
            difference = found.elpd_i - best.elpd_i
            one = found.table.iloc[0].to_dict()
            row = {"fit": name, **one, "elpd_difference": float(difference.sum())}
            row["se_difference"] = 0.0 if found is best else spread_of_sum(difference)
            row["unreliable_k"] = int(found.unreliable.sum())
            row["words"] = "predicts best" if found is best else self.words(name)
            rows.append(row)
        return pd.DataFrame(rows)

    def words(self, name: str, beside: str | None = None) -> str:
        """What the data say about two fits, and no more.

        Parameters
        ----------
        name : str
        beside : str, optional
            The fit that predicts best by default.
        """
        other = self.names[0] if beside is None else beside
        first, second = (self.results[self.names.index(each)] for each in (other, name))
        difference = first.elpd_i - second.elpd_i
        units = len(difference)
        said = [_said(other, name, float(difference.sum()), spread_of_sum(difference), units)]
        if units < FEW_UNITS:
            said.append(f"With {units} {self.by}s the standard error is unreliable.")
        for each, found in ((other, first), (name, second)):
            if number := int(found.unreliable.sum()):
                said.append(
                    f"{each}: Pareto k is over {found.good_k:.2g} for {number} of {units} "
                    f"{self.by}s, whose elpd is not to be trusted."
                )
        return " ".join(said)


def compare_loo(
    posteriors: Mapping[str, Posterior],
    *,
    by: By = "patient",
    refits: Refits = "where needed",
    cores: int | None = None,
    progress: Told | None = None,
) -> LooComparison:
    """Compare fits of one outcome by leave-one-out prediction.

    Parameters
    ----------
    posteriors : mapping of str to Posterior
        At least two of one outcome, by name.
    by : {"patient", "therapist", "clinic"}
    refits, cores, progress
        By therapist: as in `inference.leaving_out.therapists.leave_therapist_out`.

    Returns
    -------
    LooComparison

    Raises
    ------
    InputError
        If the fits are not of the same outcome of the same patients, or cannot be set beside one
        another.
    """
    if len(posteriors) < 2:
        raise InputError("One fit cannot be compared.", "Name another run of the same data.")
    outcome = next(iter(posteriors.values())).name
    for (first, one), (second, other) in combinations(posteriors.items(), 2):
        require_same_patients(one, other, f"{first} and {second}")
    discrete = {name: each.design.family.discrete for name, each in posteriors.items()}
    mixed = len(set(discrete.values())) > 1
    if mixed and by != "patient":
        raise InputError(
            f"{outcome}: continuous and discrete families cannot be compared by "
            f"{by}; the "
            "normal probability of whole scores is that of single patients.",
            "Compare them by patient.",
        )
    found = {}
    for name, posterior in posteriors.items():
        if by == "therapist":
            found[name] = leave_therapist_out(
                posterior, refits=refits, cores=cores, progress=progress
            )
            continue
        if by == "clinic":
            found[name] = leave_clinic_out(posterior, refits=refits, cores=cores, progress=progress)
            continue
        found[name] = leave_one_out(posterior)
        if mixed and not discrete[name]:
            found[name] = of_whole_scores(posteriors[name], found[name])
    order = sorted(found, key=lambda name: -found[name].elpd)
    return LooComparison(
        outcome, by, tuple(order), tuple(found[name] for name in order), whole_scores=mixed
    )


def compare_visits(
    fits: Mapping[str, Sequence[Posterior]], *, by: Literal["patient", "therapist"] = "patient"
) -> LooComparison:
    """Compare fits of one outcome over time by leave-one-out prediction, all visits at once.

    Parameters
    ----------
    fits : mapping of str to sequence of Posterior
        At least two, by name: the outcome at all its visits in the order of time.
    by : {"patient", "therapist"}

    Returns
    -------
    LooComparison

    Raises
    ------
    InputError
        If the fits are not of the same visits of the same patients.
    """
    for (first, one), (second, other) in combinations(fits.items(), 2):
        if [own.name for own in one] != [own.name for own in other]:
            raise InputError(
                f"{first} and {second} have other visits of {one[0].outcome.visit_of}.",
                "Compare fits of one and the same outcome.",
            )
        for own, beside in zip(one, other, strict=True):
            require_same_patients(own, beside, f"{first} and {second}")
    leave = leave_visits_out if by == "patient" else leave_visits_therapist_out
    found = {name: leave(posteriors) for name, posteriors in fits.items()}
    order = sorted(found, key=lambda name: -found[name].elpd)
    outcome = found[order[0]].outcome
    results = tuple(found[name] for name in order)
    return LooComparison(outcome, by, tuple(order), results, whole_scores=False)


def require_same_patients(one: Posterior, other: Posterior, which: str) -> None:
    """Refuse fits of other patients, or of another outcome under the same name.

    Raises
    ------
    InputError
    """
    outcome = one.name
    if one.outcome.range != other.outcome.range:
        raise InputError(
            f"{outcome} has other ranges in {which}.", "Compare fits of one and the same outcome."
        )
    first, second = _compared(one), _compared(other)
    sizes = [len(values["outcome"]) for values in (first, second)]
    if sizes[0] != sizes[1]:
        raise InputError(
            f"{which} analysed {sizes[0]} and {sizes[1]} patients of {outcome}: their elpd is not "
            "of the same scores.",
            "Fit both with the same covariates and the same setting of missing_alliance.",
        )
    for name in SAME:
        if not np.array_equal(first[name], second[name], equal_nan=first[name].dtype.kind == "f"):
            raise InputError(
                f"{which} were fitted to other data: {name.replace('_index', '')} of {outcome} "
                "differs.",
                "Compare fits of one and the same data file.",
            )


def _compared(posterior: Posterior) -> dict[str, NDArray[np.generic]]:
    patients = posterior.patients
    found = {name: patients[name].values for name in SAME if name != "therapist"}
    labels = np.append(patients["therapist"].values.astype(str), NOBODY)  # index -1
    return found | {"therapist": labels[patients["therapist_index"].values]}


def of_whole_scores(posterior: Posterior, found: LeaveOneOut) -> LeaveOneOut:
    """A continuous fit's predictions as probabilities of the unit interval around each score.

    Parameters
    ----------
    posterior : Posterior
    found : LeaveOneOut
        By patient.

    Returns
    -------
    LeaveOneOut
        What it gives to scores beyond the outcome's range is lost to it.

    Raises
    ------
    InputError
        If scores are not whole numbers.
    """
    design, scores = posterior.design, posterior.scores
    if not np.array_equal(scores, np.round(scores)):
        raise InputError(
            f"{posterior.name}: scores are not whole numbers, so that continuous and discrete "
            "families cannot be compared.",
            "Compare fits of continuous families only, or of discrete ones.",
        )
    parts = []
    for _, _, part in posterior.blocks(len(scores)):
        eta = own_link(design, own_predictor(part))
        auxiliary = part.parameters_in(part.design.arm_index)
        # Counted from the tail that the interval lies in, where no digit is lost
        upper = eta < (scores - design.scale.offset) / design.scale.unit
        chance = np.where(
            upper,
            chance_at_least(design, auxiliary, eta, scores - 0.5)
            - chance_at_least(design, auxiliary, eta, scores + 0.5),
            chance_at_most(design, auxiliary, eta, scores + 0.5)
            - chance_at_most(design, auxiliary, eta, scores - 0.5),
        )
        with np.errstate(divide="ignore"):
            parts.append(np.log(chance))
    log_chance = np.concatenate(parts)
    return replace(
        found,
        elpd_i=np.asarray(special.logsumexp(found.log_weights + log_chance, axis=0)),
        log_density=log_mean_exp(log_chance),
    )


def _said(better: str, worse: str, difference: float, se: float, units: int) -> str:
    told = f"elpd {difference:.1f} lower (standard error {se:.1f})"
    if difference < SMALL_DIFFERENCE:
        return (
            f"{worse} against {better}: {told}, a difference under {SMALL_DIFFERENCE:g}: they "
            "predict alike, and these data do not tell them apart."
        )
    if not difference >= CLEAR * se:
        return (
            f"{worse} against {better}: {told}, a difference under {CLEAR:g} standard errors: "
            "these data do not tell them apart."
        )
    verb = "seems to predict" if units < FEW_UNITS else "predicts"
    return f"{worse} {verb} worse than {better}: {told}."
