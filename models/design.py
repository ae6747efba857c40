"""The design: a trial's analysed patients as standardised arrays, with names for every column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.linalg import helmert

from data_prep.errors import InputError
from data_prep.moments import Moments, therapist_moments
from models.families import find_family
from models.family import Family, Scale
from models.priors import Priors
from models.spec import ModelSpec, ModeratorSpec

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scaling:
    """Centres and SDs that take each variable to mean 0 and SD 1; kept for predictions.

    Attributes
    ----------
    outcome, moderator, baseline : tuple of float
        Mean and SD (divisor n - 1) among the analysed patients who have it, in the variable's own
        unit. An absent baseline has (0, 1).
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


def arm_pairs(arms: int) -> list[tuple[int, int]]:
    """All pairs (later, earlier) of arms in display order, by the earlier one."""
    return [(later, earlier) for earlier, later in combinations(range(arms), 2)]


def coefficient_names(
    arms: int, covariates: Sequence[str], *, interaction: bool
) -> tuple[str, ...]:
    """Columns of X in their order; see `Design.coefficients`.

    Parameters
    ----------
    arms : int
    covariates : sequence of str
    interaction : bool
    """
    names = ["intercept", "baseline", *(f"arm[{k}]" for k in range(1, arms)), "moderator"]
    if interaction:
        names += [f"interaction[{k}]" for k in range(1, arms)]
    return (*names, *(f"covariate[{name}]" for name in covariates))


@dataclass(frozen=True, eq=False)
class Design:
    """One outcome's analysed patients on the standardised scale.

    Attributes
    ----------
    outcome : str
    X : ndarray, shape (n, p)
        Columns as named in `coefficients`; the column of an absent baseline is zero, so that all
        outcomes of a study share one shape. A missing moderator stands as zero.
    y : ndarray, shape (n,)
        The family's own variable: standardised scores, or whole numbers from zero.
    therapist_index : ndarray of int, shape (n,)
        Position in `therapists`.
    coefficients : tuple of str
        ``intercept, baseline, arm[k].., moderator, interaction[k].., covariate[name]..``; arms
        and interactions stand on the sum-to-zero basis.
    has_baseline : bool
    arms, therapists, covariates : tuple of str
        Codes in display order, ids, names.
    effects : tuple of str
        What varies between therapists: ``intercept``, ``slope`` (correlated), ``arm[k]``.
    scaling : Scaling
    family : Family
    scale : Scale
        From the family's own variable to scores, and its link.
    moderator : ModeratorSpec
    moderator_missing : ndarray of bool, shape (n,)
    count : ndarray, shape (n,)
        Patients whom a row stands for; one, unless identical rows were brought together.
    fixed : mapping of str to float
        The family's own parameters that the priors fix at a value, so that no draws hold them.
    given : Moments, optional
        Of patients whose rows are not there; n is then zero. See `models.moments_design`.
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
    family: Family
    scale: Scale
    moderator: ModeratorSpec
    moderator_missing: NDArray[np.bool_]
    count: Array
    fixed: Mapping[str, float] = field(default_factory=dict)
    given: Moments | None = None

    @property
    def exact(self) -> bool:
        """Whether the therapist effects integrate out: see `models.spec.ModelSpec.exact`."""
        return self.family.name == "gaussian" and not self.moderator.latent

    @property
    def integrated(self) -> bool:
        """Whether sampling does without the therapist effects, which are drawn afterwards."""
        if self.exact:
            return bool(self.effects) or self.moderator.structure == "within_between"
        return self.family.name == "gaussian" and bool(self.effects)

    @property
    def effect_columns(self) -> list[int]:
        """Columns of X whose coefficients vary between therapists."""
        column = {"slope": "moderator"}
        return [self.coefficients.index(column.get(effect, effect)) for effect in self.effects]

    @property
    def moderator_columns(self) -> list[int]:
        """Columns of X that the moderator enters: its own, then the interactions."""
        names = ("moderator", "interaction")
        return [k for k, name in enumerate(self.coefficients) if name.split("[")[0] in names]

    @property
    def present(self) -> list[int]:
        """Columns of X that the data speak of: not an absent baseline, nor an intercept that the
        family holds elsewhere.
        """
        absent = set() if self.has_baseline else {"baseline"}
        if not self.family.has_intercept:
            absent.add("intercept")
        return [k for k, name in enumerate(self.coefficients) if name not in absent]

    @cached_property
    def moments(self) -> Moments:
        """Cross-products within therapists, all that the exact Gaussian model needs."""
        if self.given is not None:
            return self.given
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

    def unmoderated(self) -> Array:
        """X with zeros in the moderator's own columns and those of its interactions."""
        X = self.X.copy()
        X[:, self.moderator_columns] = 0.0
        return X

    def aggregated(self) -> Design:
        """The design with identical rows brought together and counted.

        The likelihood of a row that stands for m patients is the m-th power of one patient's, so
        that nothing changes but the cost. Only for discrete outcomes with every moderator
        observed; any other design is returned as it is.
        """
        if not self.family.discrete or self.moderator.latent:
            return self
        rows = np.column_stack([self.X, self.y, self.therapist_index])
        _, first, back = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        return replace(
            self,
            X=self.X[first],
            y=self.y[first],
            therapist_index=self.therapist_index[first],
            moderator_missing=self.moderator_missing[first],
            count=np.bincount(back.ravel(), weights=self.count),
        )


def fixed_parameters(family: Family, priors: Priors) -> dict[str, float]:
    """The family's own parameters that the priors fix at a value.

    Parameters
    ----------
    family : Family
    priors : Priors
    """
    return {
        parameter.name: float(getattr(priors, parameter.scale))
        for parameter in family.parameters
        if parameter.prior == "gamma"
        and parameter.scale is not None
        and getattr(priors, parameter.scale)
    }


def centre_and_sd(values: Array) -> tuple[float, float]:
    """Mean and SD (divisor n - 1) of the values that are not missing."""
    seen = values[~np.isnan(values)]
    return float(seen.mean()), float(seen.std(ddof=1))


def _standardise(
    values: Array, scale: tuple[float, float] | None = None
) -> tuple[Array, tuple[float, float]]:
    """Centred and scaled values, zero where missing; the centre and SD, their own by default."""
    mean, sd = centre_and_sd(values) if scale is None else scale
    return np.nan_to_num((values - mean) / sd, nan=0.0), (mean, sd)


def _family_variable(
    scores: Array, family: Family, spec: ModelSpec, limits: tuple[float, float] | None
) -> tuple[Array, Scale]:
    """Scores as the family's own variable, and the way back."""
    if limits is None:
        if family.discrete:
            raise ValueError(f"the family {family.name} needs the limits of the outcome's range")
        limits = (-np.inf, np.inf)
    scale = family.scale(scores, limits)
    variable = (scores - scale.offset) / scale.unit
    if family.discrete and not (np.equal(variable, np.round(variable)).all() and scale.top > 0):
        wrong = scores[np.not_equal(variable, np.round(variable))]
        shown = f"{wrong[0]:g}" if len(wrong) else f"{limits[0]:g} to {limits[1]:g}"
        raise InputError(
            f"Outcome {spec.outcome!r} has the family {family.name!r}, which takes whole scores "
            f"from {limits[0]:g} up; {shown} is none.",
            'Correct the score or the range, or choose the family "gaussian" or "student_t".',
        )
    return variable, scale


def build_design(
    analysed: xr.Dataset,
    spec: ModelSpec,
    limits: tuple[float, float] | None = None,
    moderator_scale: tuple[float, float] | None = None,
) -> Design:
    """Design matrix and outcome of the patients that `Trial.analysed` gives.

    Parameters
    ----------
    analysed : xarray.Dataset
        Variables ``outcome, moderator, arm_index, therapist_index, covariates`` and, where the
        outcome has one, ``baseline``, over ``patient``.
    spec : ModelSpec
    limits : tuple of float, optional
        Lowest and highest possible score; a discrete family needs them.
    moderator_scale : tuple of float, optional
        Mean and SD that the moderator is standardised with, where several outcomes share them;
        those of the analysed patients by default.

    Returns
    -------
    Design

    Raises
    ------
    InputError
        If a discrete family meets scores that are not whole numbers.
    """
    arms = tuple(map(str, analysed.coords["arm"].values))
    covariates = tuple(map(str, analysed.coords["covariate"].values))
    basis = sum_to_zero_basis(len(arms))
    arm = basis[analysed["arm_index"].values]
    scores = np.asarray(analysed["outcome"].values, dtype=float)
    family = find_family(spec.family)
    y, scale = _family_variable(scores, family, spec, limits)
    moderator, moderator_scale = _standardise(analysed["moderator"].values, moderator_scale)
    has_baseline = "baseline" in analysed
    if has_baseline:
        baseline, baseline_scale = _standardise(analysed["baseline"].values)
    else:
        baseline, baseline_scale = np.zeros_like(y), (0.0, 1.0)

    names = coefficient_names(len(arms), covariates, interaction=spec.interaction)
    arm_names = [name for name in names if name.startswith("arm[")]
    columns = [np.ones_like(y), baseline, *arm.T, moderator]
    if spec.interaction:
        columns += [*(arm * moderator[:, None]).T]
    covariate_scales = []
    for values in analysed["covariates"].values.T:
        standardised, covariate_scale = _standardise(values)
        columns.append(standardised)
        covariate_scales.append(covariate_scale)
    return Design(
        outcome=spec.outcome,
        X=np.column_stack(columns),
        y=y,
        therapist_index=analysed["therapist_index"].values.astype(np.int64),
        coefficients=names,
        has_baseline=has_baseline,
        arms=arms,
        therapists=tuple(map(str, analysed.coords["therapist"].values)),
        covariates=covariates,
        effects=(*spec.effects, *(arm_names if spec.therapist_by_arm else ())),
        scaling=Scaling(
            (float(scores.mean()), float(scores.std(ddof=1))),
            moderator_scale,
            baseline_scale,
            tuple(covariate_scales),
        ),
        family=family,
        scale=scale,
        moderator=spec.moderator,
        moderator_missing=np.isnan(analysed["moderator"].values),
        count=np.ones_like(y),
        fixed=fixed_parameters(family, spec.priors),
    )
