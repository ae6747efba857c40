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
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError, nearest
from alliance.inference.leaving_out.leave_one_out import LeaveOneOut, require_single, smoothed
from alliance.inference.pointwise.log_likelihood import require_integrable, therapist_log_likelihood
from alliance.inference.posterior import Posterior
from alliance.models.design.design import Design

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
    count = np.bincount(design.therapist_index, minlength=len(design.therapists))
    present = np.flatnonzero(count)
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
