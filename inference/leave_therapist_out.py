"""How well a fit predicts all patients of a therapist it was not given: leave-one-therapist-out.

The therapist's effects are integrated out of the density of all his or her patients' outcomes, so
that what is predicted is a therapist drawn from the distribution of therapists. By PSIS from the
draws of the whole fit; where the weights have too heavy a tail, from a fit without the therapist,
with the model compiled once: exact models get that therapist's cross-products as zeros, models of
single patients their weights.

Outcomes are left out, alliance ratings stay; the standardisation (centres, scales, and the priors
that are stated on them) is that of all patients throughout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from data_prep.errors import InputError, nearest
from inference.asked_patients import require_outcome, trial_rows
from inference.compilation import compile_model
from inference.datatree import gaussian_draws, posterior, sampled_tree
from inference.fit import Fit
from inference.leave_one_out import LeaveOneOut, flat_draws, log_mean_exp, require_single, smoothed
from inference.log_likelihood import (
    ratings_log_likelihood,
    require_integrable,
    therapist_likelihood,
    therapist_log_likelihood,
)
from inference.sampling import (
    PATIENT_LEVEL_TARGET_ACCEPT,
    compiled_model,
    nuts_seed,
    require_complete,
    run_chains,
)
from models.design import Design
from models.patient_level import patient_level_model

Array = NDArray[np.float64]
Refits = Literal["where needed", "all", "none"]
REFITS: tuple[Refits, ...] = ("where needed", "all", "none")
Told = Callable[[int, int], None]


def leave_therapist_out(
    fit: Fit,
    outcome: str,
    *,
    refits: Refits = "where needed",
    cores: int | None = None,
    progress: Told | None = None,
) -> LeaveOneOut:
    """Leave out one therapist at a time.

    Parameters
    ----------
    fit : Fit
    outcome : str
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
    require_outcome(fit, outcome)
    if refits not in REFITS:
        raise InputError(f"There are no refits {refits!r}.", nearest(refits, REFITS))
    require_single(fit)
    require_integrable(fit, outcome)
    design = fit.design(outcome)
    count = np.bincount(design.therapist_index, minlength=len(design.therapists))
    present = np.flatnonzero(count)
    if len(present) < 2:
        raise InputError(
            f"{outcome}: all analysed patients have one therapist, who cannot be left out.",
            "Leave out patients instead (--by patient).",
        )
    pointwise = therapist_log_likelihood(fit, outcome).isel(therapist=present)
    units = tuple(design.therapists[j] for j in present)
    found = smoothed(fit, outcome, "therapist", pointwise, units, count[present])
    wanted = {
        "none": np.zeros(len(units), dtype=bool),
        "where needed": found.unreliable,
        "all": np.ones(len(units), dtype=bool),
    }[refits]
    if not wanted.any():
        return found
    without, elpd = WithoutTherapist(fit, outcome, cores), found.elpd_i.copy()
    for done, k in enumerate(np.flatnonzero(wanted)):
        if progress is not None:
            progress(done, int(wanted.sum()))
        elpd[k] = without.elpd(int(present[k]))
    if progress is not None:
        progress(int(wanted.sum()), int(wanted.sum()))
    return replace(found, elpd_i=elpd, refitted=wanted)


class WithoutTherapist:
    """An outcome's model fitted again without one therapist at a time, with one compilation.

    Parameters
    ----------
    fit : Fit
        Whose priors, sampling profile and seed are used.
    outcome : str
    cores : int, optional
        Chains run at a time; never changes a draw.
    """

    def __init__(self, fit: Fit, outcome: str, cores: int | None = None) -> None:
        self._fit, self._outcome, self._cores = fit, outcome, cores
        self._design = fit.design(outcome)
        self._rows = trial_rows(fit, outcome)
        self._priors = fit.specs[outcome].priors

    def draws(self, therapist: int) -> xr.Dataset:
        """Posterior draws without the outcomes of the therapist at this position.

        Raises
        ------
        IncompleteSamplingError
            If a chain is short, or a draw is not finite.
        """
        profile, label = self._fit.profile, f"{self._outcome}: without therapist {therapist}"
        if self._design.exact:
            model = compiled_model(
                without_patients(self._design, self._of(therapist)), self._priors
            )
        else:
            profile = profile.accepting(PATIENT_LEVEL_TARGET_ACCEPT)
            rows = self._rows_of_model
            silent = np.where(rows.therapist_index == therapist, 0.0, rows.count)
            model = self._patient_level.with_data(count=silent)
        seed = nuts_seed(self._fit.manifest["seed"], label)
        raw = run_chains(model, profile, seed, self._cores, None)
        draws = posterior(sampled_tree(raw, self._design, 0.0))
        require_complete(draws, label, profile)
        return draws

    def log_densities(self, therapist: int) -> tuple[Array, Array | None]:
        """What the elpd of one therapist is taken from, for every draw without him or her.

        Returns
        -------
        ndarray, shape (d, 1)
            Log density of the outcomes; where a second one is given, of outcomes and ratings.
        ndarray, shape (d, 1), or None
            Log density of the ratings. The exact model with the alliance taken apart loses a
            therapist's ratings together with the outcomes; given the others' data, the density of
            outcomes given ratings is that of both over that of the ratings.
        """
        design, draws = self._design, self.draws(therapist)
        found = therapist_likelihood(design, draws, self._rows, self._priors)
        own = flat_draws(found, "therapist")[:, [therapist]]
        if not (design.exact and design.moderator.structure == "within_between"):
            return own, None
        ratings = ratings_log_likelihood(design, gaussian_draws(draws, design))[:, [therapist]]
        return own + ratings, ratings

    def elpd(self, therapist: int) -> float:
        """Log predictive density of all outcomes of one therapist's patients."""
        both, ratings = self.log_densities(therapist)
        given = 0.0 if ratings is None else log_mean_exp(ratings)[0]
        return float(log_mean_exp(both)[0] - given)

    def _of(self, therapist: int) -> NDArray[np.int64]:
        return np.flatnonzero(self._design.therapist_index == therapist)

    @cached_property
    def _rows_of_model(self) -> Design:
        return self._design.aggregated()

    @cached_property
    def _patient_level(self) -> Any:
        # Also for Gaussian outcomes with a latent alliance: the same posterior, and its rows have
        # weights.
        return compile_model(patient_level_model(self._rows_of_model, self._priors))


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
    )
