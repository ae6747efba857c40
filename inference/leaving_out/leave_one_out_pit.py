"""Where each patient's outcome lies in its leave-one-out predictive distribution.

The probability integral transform (PIT) of an outcome is the share of its predictive distribution
at or below it, here of the distribution without the patient, in closed form for every draw. Over
patients these shares are uniform if the fit is calibrated. Scores on few values take a share drawn
evenly over their own probability (randomised PIT; Czado, Gneiting & Held 2009,
doi:10.1111/j.1541-0420.2009.01191.x).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from arviz_stats.base import array_stats
from arviz_stats.ecdf_utils import ecdf_pit
from numpy.typing import NDArray

from alliance.inference.leaving_out.leave_one_out import LeaveOneOut, leave_one_out
from alliance.inference.pointwise.log_likelihood import own_predictor
from alliance.inference.posterior import Posterior
from alliance.inference.sampling.profiles import seed_sequence
from alliance.inference.scores.predictor import link_scale
from alliance.inference.scores.residuals import chance_at_most

Array = NDArray[np.float64]

BAND = 0.95  # probability that a calibrated fit's curve stays within the band everywhere
SIMULATIONS = 1_000  # of uniform shares, for the band


@dataclass(frozen=True, eq=False, slots=True)
class LooPit:
    """Leave-one-out PIT values of one outcome.

    Attributes
    ----------
    outcome : str
    lower, upper : ndarray, shape (n,)
        Share of the predictive distribution below the outcome, and up to it; the same for
        continuous families.
    values : ndarray, shape (n,)
        Drawn evenly between the two.
    p_value : float
        Of uniform shares, by a test that allows for their dependence (pointwise tests of the order
        statistics, combined by Cauchy's distribution; Tesso & Vehtari 2026).
    """

    outcome: str
    lower: Array
    upper: Array
    values: Array
    p_value: float

    def curve(self, band: float = BAND) -> pd.DataFrame:
        """Share of patients at or below each value, with a simultaneous band.

        Parameters
        ----------
        band : float
            Chance that independent uniform shares stay within it everywhere (Säilynoja, Bürkner &
            Vehtari 2022, doi:10.1007/s11222-022-10090-6). Leave-one-out shares are a little
            dependent.

        Returns
        -------
        pandas.DataFrame
            Columns ``pit, share, lower, upper``.
        """
        points, share, lower, upper = ecdf_pit(self.values, band, SIMULATIONS)
        return pd.DataFrame({"pit": points, "share": share, "lower": lower, "upper": upper})

    def table(self) -> pd.DataFrame:
        """One row: mean and SD of the shares beside those of uniform ones, and the test."""
        return pd.DataFrame(
            [
                {
                    "outcome": self.outcome,
                    "patients": len(self.values),
                    "mean": float(self.values.mean()),
                    "sd": float(self.values.std(ddof=1)),
                    "uniform_mean": 0.5,
                    "uniform_sd": 1 / np.sqrt(12),
                    "p_value": self.p_value,
                }
            ]
        )


def loo_pit(posterior: Posterior, left_out: LeaveOneOut | None = None) -> LooPit:
    """Leave-one-out PIT of each analysed patient's outcome.

    Parameters
    ----------
    posterior : Posterior
    left_out : LeaveOneOut, optional
        By patient, if there is one already.

    Returns
    -------
    LooPit

    Raises
    ------
    InputError
        As `inference.leaving_out.leave_one_out.leave_one_out` does.
    """
    found = leave_one_out(posterior) if left_out is None else left_out
    design = posterior.design
    scores = design.scale.offset + design.scale.unit * design.y
    upper, start = np.zeros(len(scores)), 0
    for _, _, part in posterior.blocks(len(scores)):
        eta = link_scale(design, own_predictor(part))
        auxiliary = part.family_parameters
        weights = np.exp(found.log_weights[start : start + len(eta)])
        upper += (weights * chance_at_most(design, auxiliary, eta, scores)).sum(axis=0)
        start += len(eta)
    # The chance of the score itself is what its elpd is the logarithm of.
    own = np.exp(found.elpd_i) if design.family.discrete else np.zeros_like(upper)
    upper = np.clip(upper, 0, 1)
    lower = np.clip(upper - own, 0, 1)
    stream = seed_sequence(posterior.seed, "predictions", f"{posterior.name}: loo_pit")
    values = lower + (upper - lower) * np.random.default_rng(stream).random(len(upper))
    p_value, *_ = array_stats.uniformity_test(values, method="pot_c")
    return LooPit(posterior.name, lower, upper, values, float(p_value))
