"""How well a fit predicts all patients of a therapist it was not given: leave-one-therapist-out.

The therapist's effects are integrated out of the density of all his or her patients' outcomes, so
that what is predicted is a therapist drawn from the distribution of therapists. By PSIS from the
draws of the whole fit; where the weights have too heavy a tail, from a fit without the therapist,
with the model compiled once: exact models get that therapist's cross-products as zeros, models of
single patients their weights.

Outcomes are left out, alliance ratings stay; the standardisation (centres, scales, and the priors
that are stated on them) is that of all patients throughout.

Influence of single patients and therapists: how far results move when one is left out.

The posterior without a patient, or without all patients of a therapist, is had from the draws of
the whole fit by importance weights one over their likelihood, smoothed (PSIS; Vehtari et al. 2024,
arXiv:1507.02646). Where the weights have too heavy a tail and the model is the exact Gaussian one,
it is fitted again without them. Standardisation, and the priors stated on it, are those of all
patients throughout.

A patient's influence is of the outcome; in the exact model with the alliance taken apart, a refit
leaves the rating out as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError, nearest
from alliance.inference.draws.datatree import draws_of
from alliance.inference.estimands.estimands import estimand_draws
from alliance.inference.leaving_out.leave_one_out import (
    By,
    LeaveOneOut,
    flat_draws,
    leave_one_out,
    log_mean_exp,
    require_single,
    smoothed,
)
from alliance.inference.leaving_out.visits import leave_visits_out, leave_visits_therapist_out
from alliance.inference.pointwise.log_likelihood import (
    clinic_log_likelihood,
    require_integrable,
    therapist_log_likelihood,
)
from alliance.inference.posterior import Posterior
from alliance.inference.sampling.engines import fit_outcome
from alliance.models.design.design import Design

Array = NDArray[np.float64]


Refits = Literal["where needed", "all", "none"]
REFITS: tuple[Refits, ...] = ("where needed", "all", "none")
Told = Callable[[int, int], None]


def leave_therapist_out(
    posterior: Posterior,
    *,
    refits: Refits = "where needed",
    cores: int | None = None,
    progress: Told | None = None,
) -> LeaveOneOut:
    """Leave out one therapist at a time.

    Parameters
    ----------
    posterior : Posterior
    refits : {"where needed", "all", "none"}
        Fit again without the therapists whose Pareto k is too high, all of them, or none.
    cores : int, optional
        Chains run at a time; never changes a draw.
    progress : callable, optional
        Called with the refits done and the refits to do.

    Returns
    -------
    LeaveOneOut
        Of the therapists who have patients.

    Raises
    ------
    InputError
        If the run has no such outcome, it is one of a joint model, too many effects vary between
        therapists, or there is only one therapist.
    """
    if refits not in REFITS:
        raise InputError(f"There are no refits {refits!r}.", nearest(refits, REFITS))
    require_single(posterior)
    require_integrable(posterior)
    design = posterior.design
    count = design.patients_of_therapists
    present = np.flatnonzero(count)
    if not design.therapists:
        raise InputError(
            f"{posterior.name}: the study names no column of therapists, so that none can be left "
            "out.",
            'Leave out patients instead (`by="patient"`).',
        )
    if len(present) < 2:
        raise InputError(
            f"{posterior.name}: all analysed patients have one therapist, who cannot be left out.",
            'Leave out patients instead (`by="patient"`).',
        )
    pointwise = therapist_log_likelihood(posterior).isel(therapist=present)
    units = tuple(design.therapists[j] for j in present)
    found = smoothed(posterior, "therapist", pointwise, units, count[present])
    wanted = {
        "none": np.zeros(len(units), dtype=bool),
        "where needed": found.unreliable,
        "all": np.ones(len(units), dtype=bool),
    }[refits]
    if not wanted.any():
        return found

    from alliance.inference.leaving_out.without_therapist import (
        WithoutTherapist,  # loads PyMC, which PSIS does without
    )

    without, elpd = WithoutTherapist(posterior, cores), found.elpd_i.copy()
    for done, k in enumerate(np.flatnonzero(wanted)):
        if progress is not None:
            progress(done, int(wanted.sum()))
        elpd[k] = without.elpd(int(present[k]))
    if progress is not None:
        progress(int(wanted.sum()), int(wanted.sum()))
    return replace(found, elpd_i=elpd, refitted=wanted)


def leave_clinic_out(
    posterior: Posterior,
    *,
    refits: Refits = "where needed",
    cores: int | None = None,
    progress: Told | None = None,
) -> LeaveOneOut:
    """Leave out one clinic at a time, with its patients.

    Its effects, and those of therapists who work there alone, are integrated out in closed form.
    Therapists who work in other clinics too keep theirs, of whom the other clinics' patients speak.

    Parameters
    ----------
    posterior : Posterior
        Gaussian, with clinics' effects.
    refits : {"where needed", "all", "none"}
        Fit again without the clinics whose Pareto k is too high, all of them, or none.
    cores : int, optional
        Chains run at a time; never changes a draw.
    progress : callable, optional
        Called with the refits done and the refits to do.

    Returns
    -------
    LeaveOneOut
        Of the clinics that have patients.

    Raises
    ------
    InputError
        If the outcome is one of a joint model, not Gaussian, or the model has no clinics.
    """
    if refits not in REFITS:
        raise InputError(f"There are no refits {refits!r}.", nearest(refits, REFITS))
    require_single(posterior)
    design = posterior.design
    pointwise = clinic_log_likelihood(posterior)
    count = np.bincount(design.clinic_of, minlength=len(design.clinics))
    present = np.flatnonzero(count)
    units = tuple(design.clinics[k] for k in present)
    found = smoothed(posterior, "clinic", pointwise.isel(clinic=present), units, count[present])
    wanted = {
        "none": np.zeros(len(units), dtype=bool),
        "where needed": found.unreliable,
        "all": np.ones(len(units), dtype=bool),
    }[refits]
    elpd, total = found.elpd_i.copy(), int(wanted.sum())
    for done, k in enumerate(np.flatnonzero(wanted)):
        if progress is not None:
            progress(done, total)
        draws = fitted_without(posterior, np.flatnonzero(design.clinic_of == present[k]), cores)
        there = clinic_log_likelihood(posterior.part(draws)).isel(clinic=[present[k]])
        elpd[k] = log_mean_exp(flat_draws(there, "clinic"))[0]
    if progress is not None and total:
        progress(total, total)
    return replace(found, elpd_i=elpd, refitted=wanted)


def fitted_without(posterior: Posterior, gone: NDArray[np.int64], cores: int | None) -> xr.Dataset:
    """Draws of the outcome's model without the patients at these positions.

    Parameters
    ----------
    posterior : Posterior
        Whose priors, sampling profile, engine and seed are used.
    gone : ndarray of int
    cores : int or None
    """
    tree, _ = fit_outcome(
        without_patients(posterior.design, gone),
        posterior.priors,
        posterior.profile,
        posterior.seed,
        engine=posterior.engine,
        cores=cores,
    )
    return draws_of(tree)


def without_patients(design: Design, left_out: NDArray[np.int64]) -> Design:
    """The design without the patients at these positions; scales and therapists as they were."""
    kept = np.setdiff1d(np.arange(len(design.y)), left_out)
    return replace(
        design,
        X=design.X[kept],
        y=design.y[kept],
        therapist_index=design.therapist_index[kept],
        moderator_missing=design.moderator_missing[kept],
        count=design.count[kept],
        clinic_index=None if design.clinic_index is None else design.clinic_index[kept],
    )


LEAVE_OUT = {"therapist": leave_therapist_out, "clinic": leave_clinic_out}

# The questions of the trial, whose answers should not hang on one person
QUANTITIES = ("moderator_slope", "interaction", "arm_contrast")


@dataclass(frozen=True, eq=False, slots=True)
class Influence:
    """What leaving out each of n patients or therapists does to m reported quantities.

    Attributes
    ----------
    outcome : str
    by : {"patient", "therapist", "clinic"}
    units : tuple of str
        Patients by their position from 1, therapists by their id.
    patients : ndarray of int, shape (n,)
        Patients of each.
    labels : tuple of (quantity, level)
    mean, sd : ndarray, shape (m,)
        Posterior of the whole fit, on the outcome's own scale.
    without : ndarray, shape (n, m)
        Posterior means without each unit.
    pareto_k : ndarray, shape (n,)
    good_k : float
    refitted : ndarray of bool, shape (n,)
    """

    outcome: str
    by: By
    units: tuple[str, ...]
    patients: NDArray[np.int64]
    labels: tuple[tuple[str, str], ...]
    mean: Array
    sd: Array
    without: Array
    pareto_k: Array
    good_k: float
    refitted: NDArray[np.bool_]

    @property
    def shift_sd(self) -> Array:
        """Change of the posterior mean in SDs when a unit is left out, shape (n, m)."""
        return np.asarray((self.without - self.mean) / self.sd)

    @property
    def expected_shift(self) -> Array:
        """What leaving out so many moves a result by itself, in SDs, shape (n,).

        An estimate without a share s of its data lies sqrt(s / (1 - s)) of its standard errors
        away, in root mean square. A unit's share is that of its patients, or one of all units if
        that is more, since results that vary between therapists rest on their number.
        """
        share = np.maximum(self.patients / self.patients.sum(), 1 / len(self.units))
        return np.asarray(np.sqrt(share / (1 - share)))

    @property
    def unreliable(self) -> NDArray[np.bool_]:
        """Units, shape (n,), whose Pareto k is too high and who were not left out by a refit."""
        return ~(self.pareto_k <= self.good_k) & ~self.refitted

    def named(self, unit: int) -> str:
        """A unit in words: "patient 17 of 182", "therapist T3 (12 patients)"."""
        if self.by == "patient":
            return f"patient {self.units[unit]} of {len(self.units)}"
        return f"{self.by} {self.units[unit]} ({self.patients[unit]} patients)"

    @property
    def table(self) -> pd.DataFrame:
        """The ten units that move a quantity most, as `largest` gives them."""
        return self.largest(10)

    def largest(self, number: int | None) -> pd.DataFrame:
        """The units that move a quantity most, one row for each and the quantity moved most.

        Parameters
        ----------
        number : int or None
            Units shown; all of them if None.

        Returns
        -------
        pandas.DataFrame
            Columns ``outcome, by, unit, patients, quantity, level, mean, mean_without, shift``
            (on the outcome's own scale), ``shift_sd, pareto_k, method, reliable``.
        """
        size = np.abs(self.shift_sd)
        worst = size.argmax(axis=1)
        order = np.argsort(-size.max(axis=1), kind="stable")[:number]
        return self._rows([(int(unit), int(worst[unit])) for unit in order])

    @property
    def full_table(self) -> pd.DataFrame:
        """One row for each unit and quantity, in the columns of `table`."""
        return self._rows([(n, m) for n in range(len(self.units)) for m in range(len(self.labels))])

    def _rows(self, places: list[tuple[int, int]]) -> pd.DataFrame:
        return pd.DataFrame(
            [
                {
                    "outcome": self.outcome,
                    "by": self.by,
                    "unit": self.units[unit],
                    "patients": int(self.patients[unit]),
                    "quantity": self.labels[what][0],
                    "level": self.labels[what][1],
                    "mean": self.mean[what],
                    "mean_without": self.without[unit, what],
                    "shift": self.without[unit, what] - self.mean[what],
                    "shift_sd": self.shift_sd[unit, what],
                    "pareto_k": self.pareto_k[unit],
                    "method": "refit" if self.refitted[unit] else "psis",
                    "reliable": not self.unreliable[unit],
                }
                for unit, what in places
            ]
        )


def units_left_out(posterior: Posterior) -> tuple[By, ...]:
    """What can be left out beside patients: therapists and, where the model has them, clinics."""
    return ("therapist", "clinic") if posterior.design.clinic_effects else ("therapist",)


def influence(
    posterior: Posterior,
    by: By = "patient",
    *,
    refits: bool = False,
    left_out: LeaveOneOut | None = None,
    cores: int | None = None,
    progress: Told | None = None,
) -> Influence:
    """Leave out one patient, one therapist, or one clinic, at a time.

    Parameters
    ----------
    posterior : Posterior
    by : {"patient", "therapist", "clinic"}
    refits : bool
        Fit again without those whose Pareto k is too high, where the model is exact.
    left_out : LeaveOneOut, optional
        Of the same fit, outcome and units, where it has been computed before.
    cores : int, optional
        Chains run at a time; never changes a draw.
    progress : callable, optional
        Called with the refits done and the refits to do.

    Returns
    -------
    Influence

    Raises
    ------
    InputError
        If the run has no such outcome, it is one of a joint model, or (by therapist) the therapist
        effects cannot be integrated out, or there is only one therapist.
    """
    posterior.refuse_over_time("Influence")
    if posterior.joint:
        raise InputError(
            "Influence is not available for a joint model: a patient's other outcomes speak of the "
            "one left out.",
            "Fit the outcomes one at a time, without `joint`.",
        )
    if left_out is None:
        left_out = (
            leave_one_out(posterior) if by == "patient" else LEAVE_OUT[by](posterior, refits="none")
        )
    found = _weighed(posterior, by, left_out)
    if not refits or not posterior.design.exact or not found.unreliable.any():
        return found
    return _refitted(posterior, found, cores, progress)


def influence_over_time(posteriors: Sequence[Posterior], by: By = "patient") -> list[Influence]:
    """Leave out one patient, or one therapist, with all visits at a time, without refits.

    Parameters
    ----------
    posteriors : sequence of Posterior
        Of an outcome at all its visits, in the order of time.
    by : {"patient", "therapist"}

    Returns
    -------
    list of Influence
        One for each visit.

    Raises
    ------
    InputError
        As of `inference.leaving_out.visits`.
    """
    leave_out = leave_visits_out if by == "patient" else leave_visits_therapist_out
    left_out = leave_out(posteriors)
    return [_weighed(posterior, by, left_out) for posterior in posteriors]


def _weighed(posterior: Posterior, by: By, left_out: LeaveOneOut) -> Influence:
    """What the weights of those left out do to the quantities."""
    chosen, labels = _of_interest(estimand_draws(posterior))
    weights = np.exp(left_out.log_weights)  # (d, n)
    return Influence(
        outcome=posterior.name,
        by=by,
        units=left_out.units,
        patients=left_out.patients,
        labels=labels,
        mean=chosen.mean(axis=0),
        sd=chosen.std(axis=0, ddof=1),
        without=(weights / weights.sum(axis=0)).T @ chosen,
        pareto_k=left_out.pareto_k,
        good_k=left_out.good_k,
        refitted=np.zeros(len(left_out.units), dtype=bool),
    )


def _refitted(
    posterior: Posterior, found: Influence, cores: int | None, progress: Told | None
) -> Influence:
    design, wanted = posterior.design, np.flatnonzero(found.unreliable)
    without, refitted = found.without.copy(), found.refitted.copy()
    for done, unit in enumerate(wanted):
        if progress is not None:
            progress(done, len(wanted))
        if found.by == "patient":
            gone = np.array([unit])
        elif found.by == "clinic":
            gone = np.flatnonzero(design.clinic_of == design.clinics.index(found.units[unit]))
        else:
            place = design.therapists.index(found.units[unit])
            gone = np.flatnonzero(design.therapist_index == place)
        fitted = fitted_without(posterior, gone, cores)
        draws, _ = _of_interest(estimand_draws(posterior.part(fitted)))
        without[unit], refitted[unit] = draws.mean(axis=0), True
    if progress is not None:
        progress(len(wanted), len(wanted))
    return replace(found, without=without, refitted=refitted)


def _of_interest(estimands: xr.DataArray) -> tuple[Array, tuple[tuple[str, str], ...]]:
    """Draws (d, m) of the quantities in question, chain after chain, and their names."""
    places = np.flatnonzero(np.isin(estimands["quantity"].values, QUANTITIES))
    kept = estimands.isel(estimand=places).transpose("chain", "draw", "estimand")
    pairs = zip(kept["quantity"].values, kept["level"].values, strict=True)
    draws = kept.values.reshape(-1, len(places))
    return draws, tuple((str(quantity), str(level)) for quantity, level in pairs)
