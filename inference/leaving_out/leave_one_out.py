"""How well a fit predicts patients, or therapists, whom it was not given: leave-one-out.

The expected log predictive density (elpd) of each patient's outcome given all the others is had
from the draws of the whole fit, by importance sampling with Pareto-smoothed weights (PSIS; Vehtari,
Gelman & Gabry 2017, doi:10.1007/s11222-016-9696-4; Vehtari et al. 2024, arXiv:1507.02646). The
patient left out keeps his therapist, about whom the therapist's other patients speak: a new patient
of a known therapist. For new therapists see `inference.leaving_out.therapists`.

Where each patient's outcome lies in its leave-one-out predictive distribution.

The probability integral transform (PIT) of an outcome is the share of its predictive distribution
at or below it, here of the distribution without the patient, in closed form for every draw. Over
patients these shares are uniform if the fit is calibrated. Scores on few values take a share drawn
evenly over their own probability (randomised PIT; Czado, Gneiting & Held 2009,
doi:10.1111/j.1541-0420.2009.01191.x).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats import loo
from arviz_stats.base import array_stats
from arviz_stats.ecdf_utils import ecdf_pit
from numpy.typing import NDArray
from scipy import special

from alliance.data_prep.errors import InputError
from alliance.inference.draws.datatree import with_log_likelihood
from alliance.inference.pointwise.log_likelihood import own_predictor, patient_log_likelihood
from alliance.inference.posterior import Posterior
from alliance.inference.sampling.profiles import seed_sequence
from alliance.inference.scores.questions import own_link
from alliance.inference.scores.single_scores import chance_at_most

Array = NDArray[np.float64]
By = Literal["patient", "therapist", "clinic"]

TARGETS = {
    "patient": "a new patient of one of the trial's therapists",
    "therapist": "all patients of a therapist who is not in the trial",
    "clinic": "all patients of a clinic that is not in the trial",
}


@dataclass(frozen=True, eq=False, slots=True)
class LeaveOneOut:
    """Leave-one-out predictions of one outcome, by patient or by therapist.

    Attributes
    ----------
    outcome : str
    by : {"patient", "therapist", "clinic"}
        What is left out at a time.
    units : tuple of str
        The n left out: patients by their position from 1, therapists and clinics by their id.
    patients : ndarray of int, shape (n,)
        Patients of each; one where patients are left out.
    elpd_i : ndarray, shape (n,)
        Log density or mass of the outcomes left out, on the outcome's own scale.
    log_density : ndarray, shape (n,)
        The same without leaving anything out: log of the mean over draws.
    pareto_k : ndarray, shape (n,)
        Shape of the tail of the importance weights.
    good_k : float
        Value up to which PSIS is reliable with so many draws.
    refitted : ndarray of bool, shape (n,)
        Whether `elpd_i` comes from a fit without the unit.
    log_weights : ndarray, shape (d, n)
        Normalised log importance weights of the draws, chain after chain.
    """

    outcome: str
    by: By
    units: tuple[str, ...]
    patients: NDArray[np.int64]
    elpd_i: Array
    log_density: Array
    pareto_k: Array
    good_k: float
    refitted: NDArray[np.bool_]
    log_weights: Array

    @property
    def elpd(self) -> float:
        """Sum over units."""
        return float(self.elpd_i.sum())

    @property
    def se(self) -> float:
        """Standard error of `elpd`, from its spread over units; NaN for a single one."""
        return spread_of_sum(self.elpd_i)

    @property
    def p_loo(self) -> float:
        """Effective number of parameters: what a unit gains from having been seen."""
        return float((self.log_density - self.elpd_i).sum())

    @property
    def unreliable(self) -> NDArray[np.bool_]:
        """Units, shape (n,), whose elpd is by PSIS and whose Pareto k is too high for it."""
        # A k that could not be estimated (NaN) is not a good one
        return ~(self.pareto_k <= self.good_k) & ~self.refitted

    @property
    def table(self) -> pd.DataFrame:
        """One row: elpd, its standard error, and how far PSIS can be trusted."""
        return pd.DataFrame(
            [
                {
                    "outcome": self.outcome,
                    "by": self.by,
                    "units": len(self.units),
                    "patients": int(self.patients.sum()),
                    "elpd": self.elpd,
                    "se": self.se,
                    "p_loo": self.p_loo,
                    "largest_k": float(np.nanmax(self.pareto_k, initial=-np.inf)),
                    "good_k": self.good_k,
                    "k_too_high": int((~(self.pareto_k <= self.good_k)).sum()),
                    "refitted": int(self.refitted.sum()),
                }
            ]
        )

    @property
    def unit_table(self) -> pd.DataFrame:
        """One row for each unit left out: its elpd, Pareto k and method."""
        return pd.DataFrame(
            {
                "outcome": self.outcome,
                self.by: self.units,
                "patients": self.patients,
                "elpd": self.elpd_i,
                "pareto_k": self.pareto_k,
                "method": np.where(self.refitted, "refit", "psis"),
            }
        )


def leave_one_out(posterior: Posterior) -> LeaveOneOut:
    """Leave out one patient at a time, by PSIS.

    Parameters
    ----------
    posterior : Posterior

    Returns
    -------
    LeaveOneOut

    Raises
    ------
    InputError
        If the run has no such outcome, or it is one of a joint model.

    Notes
    -----
    Where the alliance is a parameter, what is left out is the patient's outcome; the rating stays.
    Each such patient brings a parameter of his own, which his outcome informs: Pareto k is then
    often high.
    """
    require_single(posterior)
    pointwise = patient_log_likelihood(posterior)
    patients = pointwise.sizes["patient"]
    units = tuple(str(position) for position in range(1, patients + 1))
    return smoothed(posterior, "patient", pointwise, units, np.ones(patients, dtype=np.int64))


def require_single(posterior: Posterior) -> None:
    """Refuse joint models.

    Raises
    ------
    InputError
        A patient's outcomes are correlated there: one left out is spoken of by the others.
    """
    posterior.refuse_over_time("Leave-one-out")
    if posterior.joint:
        raise InputError(
            "Leave-one-out is not available for a joint model: a patient's other outcomes speak "
            "of the one left out.",
            "Fit the outcomes one at a time, without `joint`.",
        )


def smoothed(
    posterior: Posterior,
    by: By,
    pointwise: xr.DataArray,
    units: tuple[str, ...],
    patients: NDArray[np.int64],
) -> LeaveOneOut:
    """Leave-one-out from a pointwise log likelihood, by PSIS alone.

    Parameters
    ----------
    posterior : Posterior
    by : {"patient", "therapist", "clinic"}
    pointwise : xarray.DataArray
        Dims chain, draw and `by`.
    units : tuple of str
    patients : ndarray of int, shape (n,)
    """
    with warnings.catch_warnings(), np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        # ArviZ warns of high Pareto k; here they are counted, named and judged. A tail that
        # overflows gets no k (NaN), which counts as too high.
        warnings.simplefilter("ignore", UserWarning)
        found = loo(with_log_likelihood(posterior.draws, pointwise), pointwise=True)
    likelihood = flat_draws(pointwise, by)
    return LeaveOneOut(
        outcome=posterior.name,
        by=by,
        units=units,
        patients=patients,
        elpd_i=np.asarray(found.elpd_i.values),
        log_density=log_mean_exp(likelihood),
        pareto_k=np.asarray(found.pareto_k.values),
        good_k=float(found.good_k),
        refitted=np.zeros(len(units), dtype=bool),
        log_weights=flat_draws(found.log_weights, by),
    )


def flat_draws(values: xr.DataArray, dim: str) -> Array:
    """Chain after chain, shape (d, n)."""
    ordered = values.transpose("chain", "draw", dim).values
    return np.asarray(ordered.reshape(-1, ordered.shape[-1]))


def log_mean_exp(values: Array) -> Array:
    """Log of the mean over draws, the first axis."""
    return np.asarray(special.logsumexp(values, axis=0) - np.log(len(values)))


def spread_of_sum(values: Array) -> float:
    """Standard error of a sum of n terms from their spread; NaN for a single one."""
    if len(values) < 2:
        return float("nan")
    return float(np.sqrt(len(values)) * values.std(ddof=1))


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

    @property
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
        eta = own_link(design, own_predictor(part))
        auxiliary = part.parameters_in(part.design.arm_index)
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
