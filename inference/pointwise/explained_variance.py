"""Share of variance explained: Bayesian R2, a number for every posterior draw.

Variance of the expected scores over the variance of expected scores and residuals together, both as
the draw has them (Gelman et al. 2019, doi:10.1080/00031305.2018.1549100). It says how much is
explained of patients like those of the trial; it is no test of the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from arviz_stats.base import array_stats
from numpy.typing import NDArray

from alliance.inference.draws.quantiles import described
from alliance.inference.pointwise.log_likelihood import own_therapists
from alliance.inference.posterior import Posterior
from alliance.inference.scores.linear_predictor import link_scale, predictor_at

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class ExplainedVariance:
    """Bayesian R2 of one outcome.

    Attributes
    ----------
    outcome : str
    interval : float
    draws : dict of str to ndarray, shape (d,)
        ``patient and therapist``: expected scores with the patient's own therapist; ``patient``:
        with an average therapist.
    """

    outcome: str
    interval: float
    draws: dict[str, Array]

    def table(self) -> pd.DataFrame:
        """One row for each way to expect: mean, SD and equal-tailed interval."""
        rows = [
            {"outcome": self.outcome, "explained_by": explained, **described(values, self.interval)}
            for explained, values in self.draws.items()
        ]
        return pd.DataFrame(rows)


def explained_variance(posterior: Posterior, *, interval: float = 0.95) -> ExplainedVariance:
    """Bayesian R2, with therapists and by the patients' values alone.

    Parameters
    ----------
    posterior : Posterior
    interval : float

    Returns
    -------
    ExplainedVariance
        The residual variance is that of a score given patient and therapist, on average over
        patients; where it is infinite, as that of a t distribution with up to two degrees of
        freedom, the share is zero. What differs between therapists counts as unexplained where
        they are left out.

    Raises
    ------
    InputError
        If the run has no such outcome.
    """
    design, rows = posterior.design, posterior.rows
    found: dict[str, list[Array]] = {"patient and therapist": [], "patient": []}
    for _, _, part in posterior.blocks(max(1, design.scale.top) * len(design.y)):
        auxiliary = part.family_parameters
        moderator, own = part.alliance(), own_therapists(part)
        expected, residual = {}, {}
        for name in found:
            therapists = own if name == "patient and therapist" else None
            eta = link_scale(design, predictor_at(part, rows, moderator, therapists))
            expected[name] = design.family.expected(eta, auxiliary, design.scale)
            residual[name] = design.family.variance(eta, auxiliary, design.scale).mean(axis=1)
        # What therapists add to the expected scores is then part of what is not explained.
        between = (expected["patient and therapist"] - expected["patient"]).var(axis=1)
        residual["patient"] = residual["patient and therapist"] + between
        for name in found:
            found[name].append(
                array_stats.bayesian_r2(expected[name], residual[name], scale_kind="var")
            )
    return ExplainedVariance(
        posterior.name, interval, {name: np.concatenate(parts) for name, parts in found.items()}
    )
