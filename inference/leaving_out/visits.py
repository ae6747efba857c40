"""Leave-one-out for outcomes over time: a patient, or a therapist, with all visits at once.

The scores of one patient at several visits speak of one another, so that leaving one of them out
asks how well a patient is known, and not how well new ones are predicted. What is left out is the
patient; the other patients of the therapist still speak of the therapist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from alliance.data_prep.errors import InputError
from alliance.inference.leaving_out.leave_one_out import LeaveOneOut, smoothed
from alliance.inference.pointwise.visits import (
    positions_of,
    therapists_log_likelihood,
    visits_log_likelihood,
)
from alliance.inference.posterior import Posterior


def leave_visits_therapist_out(posteriors: Sequence[Posterior]) -> LeaveOneOut:
    """Leave out one therapist at a time with all visits of all patients, by PSIS.

    Parameters
    ----------
    posteriors : sequence of Posterior
        As of `visits_log_likelihood`.

    Returns
    -------
    LeaveOneOut
        Of the outcome over time, and the therapists who have patients.

    Raises
    ------
    InputError
        As of `therapists_log_likelihood`, or with fewer than two therapists.
    """
    first = posteriors[0]
    positions, owner = positions_of(posteriors), dict[int, int]()
    for own in posteriors:
        owner |= dict(zip(positions[own.name], own.design.therapist_index, strict=True))
    count = np.bincount(list(owner.values()), minlength=len(first.design.therapists) + 1)
    present = np.flatnonzero(count[: len(first.design.therapists)])
    if len(present) < 2:
        raise InputError(
            f"{first.outcome.visit_of}: the analysed patients have fewer than two therapists, and "
            "none can be left out.",
            'Leave out patients instead (`by="patient"`).',
        )
    pointwise = therapists_log_likelihood(posteriors).isel(therapist=present)
    units = tuple(first.design.therapists[j] for j in present)
    found = smoothed(first, "therapist", pointwise, units, count[present])
    return replace(found, outcome=str(first.outcome.visit_of))


def leave_visits_out(posteriors: Sequence[Posterior]) -> LeaveOneOut:
    """Leave out one patient at a time with all visits, by PSIS.

    Parameters
    ----------
    posteriors : sequence of Posterior
        As of `visits_log_likelihood`.

    Returns
    -------
    LeaveOneOut
        Of the outcome over time.
    """
    pointwise = visits_log_likelihood(posteriors)
    patients = pointwise.sizes["patient"]
    units = tuple(str(position) for position in range(1, patients + 1))
    one = np.ones(patients, dtype=np.int64)
    found = smoothed(posteriors[0], "patient", pointwise, units, one)
    return replace(found, outcome=str(posteriors[0].outcome.visit_of))
