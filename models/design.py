"""The design: a trial's analysed patients as standardised arrays, with names for every column."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.linalg import helmert

from data_prep.moments import Moments, therapist_moments
from models.priors import Priors
from models.spec import ModelSpec

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scaling:
    """Centres and SDs that take each variable to mean 0 and SD 1; kept for predictions.

    Attributes
    ----------
    outcome, moderator, baseline : tuple of float
        Mean and SD (divisor n - 1) among the analysed patients, in the variable's own unit. An
        absent baseline has (0, 1).
    covariates : tuple of tuple of float
        The same for each covariate.
    """

    outcome: tuple[float, float]
    moderator: tuple[float, float]
    baseline: tuple[float, float]
    covariates: tuple[tuple[float, float], ...]


def sum_to_zero_basis(arms: int) -> Array:
    """Orthonormal basis of the arm effects that sum to zero.

    Parameters
    ----------
    arms : int
        Number of arms K, at least 2.

    Returns
    -------
    ndarray, shape (K, K - 1)
        Columns are orthonormal and each sums to zero (Helmert contrasts). Independent normal
        coefficients on them are a ``ZeroSumNormal`` over arms.
    """
    return np.asarray(helmert(arms).T)


@dataclass(frozen=True, eq=False)
class Design:
    """One outcome's analysed patients on the standardised scale.

    Attributes
    ----------
    outcome : str
    X : ndarray, shape (n, p)
        Columns as named in `coefficients`; the column of an absent baseline is zero, so that all
        outcomes of a study share one shape.
    y : ndarray, shape (n,)
    therapist_index : ndarray of int, shape (n,)
        Position in `therapists`.
    coefficients : tuple of str
        ``intercept, baseline, arm[k].., moderator, interaction[k].., covariate[name]..``; arms
        and interactions stand on the sum-to-zero basis.
    has_baseline : bool
    arms, therapists, covariates : tuple of str
        Codes in display order, ids, names.
    effects : tuple of str
        What varies between therapists: of ``intercept, slope``.
    scaling : Scaling
    """

    outcome: str
    X: Array
    y: Array
    therapist_index: NDArray[np.int64]
    coefficients: tuple[str, ...]
    has_baseline: bool
    arms: tuple[str, ...]
    therapists: tuple[str, ...]
    covariates: tuple[str, ...]
    effects: tuple[str, ...]
    scaling: Scaling

    @property
    def effect_columns(self) -> list[int]:
        """Columns of X whose coefficients vary between therapists."""
        column = {"intercept": "intercept", "slope": "moderator"}
        return [self.coefficients.index(column[effect]) for effect in self.effects]

    @property
    def present(self) -> list[int]:
        """Columns of X that the data speak of: all but an absent baseline."""
        absent = () if self.has_baseline else ("baseline",)
        return [k for k, name in enumerate(self.coefficients) if name not in absent]

    @cached_property
    def moments(self) -> Moments:
        """Cross-products within therapists, all that the exact Gaussian model needs."""
        return therapist_moments(self.X, self.y, self.therapist_index, len(self.therapists))

    def prior_sd(self, priors: Priors) -> Array:
        """Prior SD of each coefficient, shape (p,)."""
        scale = {
            "intercept": priors.intercept,
            "baseline": priors.baseline_slope,
            "arm": priors.arm,
            "moderator": priors.moderator_slope,
            "interaction": priors.interaction,
            "covariate": priors.covariate_slope,
        }
        return np.array([scale[name.split("[")[0]] for name in self.coefficients])


def _standardise(values: Array) -> tuple[Array, tuple[float, float]]:
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    return (values - mean) / sd, (mean, sd)


def build_design(analysed: xr.Dataset, spec: ModelSpec) -> Design:
    """Design matrix and standardised outcome of the patients that `Trial.analysed` gives.

    Parameters
    ----------
    analysed : xarray.Dataset
        Variables ``outcome, moderator, arm_index, therapist_index, covariates`` and, where the
        outcome has one, ``baseline``, over ``patient``.
    spec : ModelSpec

    Returns
    -------
    Design
    """
    arms = tuple(map(str, analysed.coords["arm"].values))
    covariates = tuple(map(str, analysed.coords["covariate"].values))
    basis = sum_to_zero_basis(len(arms))
    arm = basis[analysed["arm_index"].values]
    y, outcome_scale = _standardise(analysed["outcome"].values)
    moderator, moderator_scale = _standardise(analysed["moderator"].values)
    has_baseline = "baseline" in analysed
    if has_baseline:
        baseline, baseline_scale = _standardise(analysed["baseline"].values)
    else:
        baseline, baseline_scale = np.zeros_like(y), (0.0, 1.0)

    names = ["intercept", "baseline", *(f"arm[{k}]" for k in range(1, len(arms))), "moderator"]
    columns = [np.ones_like(y), baseline, *arm.T, moderator]
    if spec.interaction:
        names += [f"interaction[{k}]" for k in range(1, len(arms))]
        columns += [*(arm * moderator[:, None]).T]
    covariate_scales = []
    for name, values in zip(covariates, analysed["covariates"].values.T, strict=True):
        standardised, scale = _standardise(values)
        names.append(f"covariate[{name}]")
        columns.append(standardised)
        covariate_scales.append(scale)
    return Design(
        outcome=spec.outcome,
        X=np.column_stack(columns),
        y=y,
        therapist_index=analysed["therapist_index"].values.astype(np.int64),
        coefficients=tuple(names),
        has_baseline=has_baseline,
        arms=arms,
        therapists=tuple(map(str, analysed.coords["therapist"].values)),
        covariates=covariates,
        effects=spec.effects,
        scaling=Scaling(outcome_scale, moderator_scale, baseline_scale, tuple(covariate_scales)),
    )
