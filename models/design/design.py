"""The design: a trial's analysed patients as standardised arrays, with names for every column.

A design from cross-products alone: what the exact Gaussian model needs of a registry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.cell_moments import NOBODY, CellMoments, Column
from alliance.data_prep.covariates import Covariate, covariates_of, seen_levels
from alliance.data_prep.errors import InputError
from alliance.data_prep.moments import Moments, therapist_moments
from alliance.data_prep.study.rules import OWN_FAMILIES
from alliance.models.clinics import Cells, LevelProducts
from alliance.models.design.encoding import (
    Encoding,
    Kind,
    Observed,
    Scaling,
    arm_pairs,
    sum_to_zero_basis,
)
from alliance.models.families.families import find_family
from alliance.models.families.family import Family, Scale
from alliance.models.nesting import NESTED_ALIKE, Nesting
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec, ModeratorSpec

__all__ = ["Design", "Scaling", "arm_pairs", "build_design", "centre_and_sd", "sum_to_zero_basis"]


Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Design:
    """One outcome's analysed patients on the standardised scale.

    Attributes
    ----------
    outcome : str
    encoding : Encoding
        What made the columns of X from the patients' values, and makes those of new patients.
    X : ndarray, shape (n, p)
        Columns as named in `coefficients`; those of an absent baseline, and of levels without
        analysed patients, are zero, so that all outcomes of a study share one shape. A missing
        moderator stands as zero.
    y : ndarray, shape (n,)
        The family's own variable: standardised scores, or whole numbers from zero.
    therapist_index : ndarray of int, shape (n,)
        Position in `therapists`; the number of therapists, one beyond the last position, for
        patients of arms without therapists.
    therapists : tuple of str
        Ids.
    effects : tuple of str
        What varies between therapists: ``intercept``, ``slope`` (correlated), ``arm[k]``.
    family : Family
    scale : Scale
        From the family's own variable to scores, and its link.
    moderator : ModeratorSpec
    moderator_missing : ndarray of bool, shape (n,)
    count : ndarray, shape (n,)
        Patients whom a row stands for; one, unless identical rows were brought together.
    fixed : mapping of str to float
        The family's own parameters that the priors fix at a value, so that no draws hold them.
    given : tuple of Moments, optional
        Of patients whose rows are not there, by residual group; n is then zero.
    nesting : Nesting
        Which arms have therapists, and which share a residual SD.
    offset : ndarray, shape (n,), optional
        What each patient's own exposure adds to the predictor on the link's scale: its logarithm.
    clinics : tuple of str
        Ids; empty where there is no level above the therapists.
    clinic_index : ndarray of int, shape (n,), optional
        Position of each patient's clinic.
    clinic_effects : tuple of str
        What varies between clinics: ``intercept``, ``slope`` (correlated).
    """

    outcome: str
    encoding: Encoding
    X: Array
    y: Array
    therapist_index: NDArray[np.int64]
    therapists: tuple[str, ...]
    effects: tuple[str, ...]
    family: Family
    scale: Scale
    moderator: ModeratorSpec
    moderator_missing: NDArray[np.bool_]
    count: Array
    fixed: Mapping[str, float] = field(default_factory=dict)
    given: tuple[Moments, ...] | None = None
    nesting: Nesting = NESTED_ALIKE
    offset: Array | None = None
    clinics: tuple[str, ...] = ()
    clinic_index: NDArray[np.int64] | None = None
    clinic_effects: tuple[str, ...] = ()

    @property
    def arms(self) -> tuple[str, ...]:
        """Codes of the arms in display order."""
        return self.encoding.arms

    @property
    def has_baseline(self) -> bool:
        """Whether the outcome has a baseline."""
        return self.encoding.has_baseline

    @property
    def covariates(self) -> tuple[str, ...]:
        """Names of the covariates' columns."""
        return self.encoding.column_names

    @property
    def scaling(self) -> Scaling:
        """Centres and SDs of the variables."""
        return self.encoding.scaling

    @property
    def coefficients(self) -> tuple[str, ...]:
        """Names of the columns of X: ``intercept, baseline, arm[k].., moderator,
        interaction[k].., covariate[name]..``; arms and interactions stand on the sum-to-zero
        basis. What a column is, `Encoding.terms` tells; names are not taken apart.
        """
        return self.encoding.coefficients

    @property
    def exact(self) -> bool:
        """Whether the therapist effects integrate out: see `models.spec.ModelSpec.exact`."""
        return self.family.name == "gaussian" and not self.moderator.latent

    @property
    def integrated(self) -> bool:
        """Whether sampling does without the therapist effects, which are drawn afterwards."""
        if self.exact:
            levels = bool(self.effects or self.clinic_effects)
            return levels or self.moderator.structure == "within_between"
        return self.family.name == "gaussian" and bool(self.effects)

    @property
    def has_moderator(self) -> bool:
        """Whether patients of any arm can have the moderator."""
        return bool(self.encoding.moderated)

    @property
    def can_have_moderator(self) -> NDArray[np.bool_]:
        """Which rows are of an arm whose patients can have the moderator, shape (n,)."""
        if not self.encoding.without_moderator:
            return np.ones(len(self.X), dtype=bool)
        return np.isin(self.arm_index, self.encoding.moderated)

    @property
    def effect_columns(self) -> list[int]:
        """Columns of X whose coefficients vary between therapists."""
        column = {"slope": "moderator"}
        return [self.coefficients.index(column.get(effect, effect)) for effect in self.effects]

    @property
    def clinic_columns(self) -> list[int]:
        """Columns of X whose coefficients vary between clinics."""
        column = {"slope": "moderator"}
        return [self.coefficients.index(column.get(own, own)) for own in self.clinic_effects]

    @property
    def moderator_columns(self) -> list[int]:
        """Columns of X that the moderator enters: its own, then the interactions."""
        return self.encoding.places("moderator", "interaction")

    @property
    def arm_columns(self) -> list[int]:
        """Columns of X of the arms' basis."""
        return self.encoding.places("arm")

    @property
    def present(self) -> list[int]:
        """Columns of X that the data speak of: not an absent moderator, baseline or level, nor an
        intercept that the family holds elsewhere.
        """
        without_intercept = not self.family.has_intercept
        return [
            k
            for k, term in enumerate(self.encoding.terms)
            if not (
                (term.kind == "baseline" and not self.has_baseline)
                or (term.kind == "moderator" and not self.has_moderator)
                or (term.kind == "covariate" and term.number in self.encoding.absent)
                or (term.kind == "intercept" and without_intercept)
            )
        ]

    @cached_property
    def arm_index(self) -> NDArray[np.int64]:
        """Position of each patient's arm, shape (n,)."""
        arms = self.X[:, self.arm_columns] - sum_to_zero_basis(len(self.arms))[:, None]
        return np.asarray(np.square(arms).sum(axis=2).argmin(axis=0), dtype=np.int64)

    @cached_property
    def residual_group(self) -> NDArray[np.int64]:
        """Residual group of each patient, shape (n,); see `models.nesting`."""
        if not self.nesting.groups:
            return np.zeros(len(self.y), dtype=np.int64)
        return self.nesting.group_of(self.arm_index)

    @property
    def units(self) -> int:
        """Therapists, and one more for patients who have none, where an arm has none."""
        return len(self.therapists) + bool(self.nesting.without)

    @property
    def patients_of_therapists(self) -> NDArray[np.int64]:
        """Patients of each therapist, shape (J,); not of those who have none."""
        if self.given is not None:
            return self.moments.count[: len(self.therapists)]
        count = np.bincount(self.therapist_index, minlength=len(self.therapists))
        return count[: len(self.therapists)]

    @property
    def labels(self) -> tuple[str, ...]:
        """Each patient's therapist, by id; `NOBODY` of those who have none."""
        known = (*self.therapists, NOBODY)
        return tuple(known[k] for k in self.therapist_index)

    @cached_property
    def moments(self) -> Moments:
        """Cross-products within therapists, all that the exact Gaussian model needs.

        Patients without therapists have the last place, after all therapists: they enter sums
        over everybody, and have no therapist effect.
        """
        if self.given is not None:
            return self.given[0] if len(self.given) == 1 else reduce(Moments.merge, self.given)
        return therapist_moments(self.X, self.y, self.therapist_index, self.units)

    @cached_property
    def group_moments(self) -> tuple[Moments, ...]:
        """The moments of each residual group; they add up to `moments`."""
        if self.nesting.number == 1:
            return (self.moments,)
        if self.given is not None:
            return self.given
        groups = [self.residual_group == group for group in range(self.nesting.number)]
        return tuple(
            therapist_moments(self.X[own], self.y[own], self.therapist_index[own], self.units)
            for own in groups
        )

    @property
    def clinic_of(self) -> NDArray[np.int64]:
        """Position of each patient's clinic, shape (n,).

        Raises
        ------
        ValueError
            If there are no clinics.
        """
        if self.clinic_index is None:
            raise ValueError(f"{self.outcome} has no clinics")
        return self.clinic_index

    @property
    def clinic_labels(self) -> tuple[str, ...]:
        """Each patient's clinic, by id."""
        return tuple(self.clinics[k] for k in self.clinic_of)

    @cached_property
    def cells(self) -> Cells:
        """Which therapists have patients in which clinics."""
        return Cells.of(
            self.therapist_index, self.clinic_of, len(self.therapists), len(self.clinics)
        )

    @cached_property
    def clinic_moments(self) -> tuple[Moments, ...]:
        """Cross-products within clinics, of each residual group."""
        groups = [self.residual_group == group for group in range(self.nesting.number)]
        return tuple(
            therapist_moments(self.X[own], self.y[own], self.clinic_of[own], len(self.clinics))
            for own in groups
        )

    @cached_property
    def level_products(self) -> LevelProducts:
        """Cross-products of therapists, clinics and their pairs, by residual group."""
        return LevelProducts.of(
            self.cells,
            self.group_moments,
            self.clinic_moments,
            (self.effect_columns, self.clinic_columns),
            (self.therapist_index, self.clinic_of, self.residual_group, self.X),
        )

    @property
    def outcome_unit(self) -> tuple[float, float]:
        """Expected score where the predictor is zero, and what one SD of the predictor adds to it.

        The outcome's mean and SD; of events and counts, whose predictor has a unit of its own
        (an SD of the latent variable, a factor of e), to first order. Counts: for one unit of the
        exposure.
        """
        scale = self.scale
        if self.family.name not in OWN_FAMILIES:
            return self.scaling.outcome
        middle = np.array([[scale.link_location]])
        nothing: dict[str, Array] = {}
        mean = self.family.expected(middle, nothing, scale)
        slope = scale.link_unit * self.family.slope(middle, nothing, scale)
        return scale.offset + scale.unit * float(mean[0, 0]), scale.unit * float(slope[0, 0])

    def prior_sd(self, priors: Priors) -> Array:
        """Prior SD of each coefficient, shape (p,)."""
        scale: dict[Kind, float] = {
            "intercept": priors.intercept,
            "baseline": priors.baseline_slope,
            "arm": priors.arm,
            "moderator": priors.moderator_slope,
            "interaction": priors.interaction,
            "covariate": priors.covariate_slope,
        }
        return np.array([scale[term.kind] for term in self.encoding.terms])

    def without_slope(self, slope: float) -> Design:
        """The design of what is left of the outcome after a known slope of the moderator.

        Parameters
        ----------
        slope : float
            On the standardised scale.
        """
        change = np.eye(len(self.coefficients) + 1)
        change[self.coefficients.index("moderator"), -1] = -slope
        return replace(
            self,
            given=tuple(
                Moments(change.T @ own.cross_products @ change, own.count)
                for own in self.group_moments
            ),
        )

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
        if self.clinic_index is not None:
            rows = np.column_stack([rows, self.clinic_index])
        if self.offset is not None:
            rows = np.column_stack([rows, self.offset])
        _, first, back = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        return replace(
            self,
            X=self.X[first],
            y=self.y[first],
            therapist_index=self.therapist_index[first],
            moderator_missing=self.moderator_missing[first],
            offset=None if self.offset is None else self.offset[first],
            clinic_index=None if self.clinic_index is None else self.clinic_index[first],
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


def _range(values: Array) -> tuple[float, float]:
    return float(np.nanmin(values)), float(np.nanmax(values))


def _family_variable(
    scores: Array,
    family: Family,
    spec: ModelSpec,
    limits: tuple[float, float] | None,
    exposure: Array | None,
) -> tuple[Array, Scale]:
    """Scores as the family's own variable, and the way back."""
    if limits is None:
        if family.discrete:
            raise ValueError(f"the family {family.name} needs the limits of the outcome's range")
        limits = (-np.inf, np.inf)
    # With exposures the mean is that of all events over all exposure: the mean rate
    scale = family.scale(scores if exposure is None else scores / exposure.mean(), limits)
    variable = (scores - scale.offset) / scale.unit
    ranged = scale.top > 0 or family.ratio == "rate"  # of counts none is the highest
    if family.discrete and not (np.equal(variable, np.round(variable)).all() and ranged):
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
    encoding: Encoding | None = None,
) -> Design:
    """Encoding, design matrix and outcome of the patients that `Trial.analysed` gives.

    Parameters
    ----------
    analysed : xarray.Dataset
        Variables ``outcome, moderator, arm_index, therapist_index, covariates`` and, where the
        outcome has them, ``baseline`` and ``exposure``, over ``patient``.
    spec : ModelSpec
    limits : tuple of float, optional
        Lowest and highest possible score; a discrete family needs them.
    moderator_scale : tuple of float, optional
        Mean and SD that the moderator is standardised with, where several outcomes share them;
        those of the analysed patients by default.
    encoding : Encoding, optional
        Made from more patients than these, whose standardisation theirs is: see
        `models.visits.design`. By default from these.

    Returns
    -------
    Design

    Raises
    ------
    InputError
        If a discrete family meets scores that are not whole numbers.
    """
    scores = np.asarray(analysed["outcome"].values, dtype=float)
    family = find_family(spec.family)
    exposure = None
    if family.ratio == "rate" and "exposure" in analysed:
        exposure = np.asarray(analysed["exposure"].values, dtype=float)
    y, scale = _family_variable(scores, family, spec, limits, exposure)
    moderator = np.asarray(analysed["moderator"].values, dtype=float)
    baseline = np.asarray(analysed["baseline"].values) if "baseline" in analysed else None
    columns = np.asarray(analysed["covariates"].values, dtype=float)
    covariates = covariates_of(analysed)
    references, absent = seen_levels(covariates, columns.sum(axis=0).tolist(), len(scores))
    if encoding is not None:
        centre, sd = encoding.scaling.outcome
        y, scale = (scores - centre) / sd, Scale(centre, sd, 0, 0.0, 1.0)
    arms = tuple(map(str, analysed.coords["arm"].values))
    without = arms_without_moderator(arms, spec.moderator)
    if len(without) == len(arms):
        moderator, moderator_scale = np.full(len(scores), np.nan), (0.0, 1.0)
    encoding = encoding or Encoding(
        arms=arms,
        interaction=spec.interaction,
        has_baseline=baseline is not None,
        covariates=covariates,
        references=references,
        absent=absent,
        scaling=Scaling(
            (float(scores.mean()), float(scores.std(ddof=1))),
            centre_and_sd(moderator) if moderator_scale is None else moderator_scale,
            (0.0, 1.0) if baseline is None else centre_and_sd(baseline),
            tuple(
                (0.0, 1.0) if k in absent else centre_and_sd(values)
                for k, values in enumerate(columns.T)
            ),
        ),
        observed=Observed(
            None if len(without) == len(arms) else _range(moderator),
            None if baseline is None else _range(baseline),
            tuple(map(_range, columns.T)),
        ),
        without_moderator=without,
    )
    arm_index = analysed["arm_index"].values
    therapists = tuple(map(str, analysed.coords["therapist"].values))
    own = analysed["therapist_index"].values.astype(np.int64)
    arm_effects = [encoding.coefficients[k] for k in encoding.places("arm")]
    return Design(
        outcome=spec.outcome,
        encoding=encoding,
        X=np.nan_to_num(encoding.matrix(arm_index, moderator, baseline, columns), nan=0.0),
        y=y,
        therapist_index=np.where(own < 0, len(therapists), own),
        therapists=therapists,
        effects=(*spec.effects, *(arm_effects if spec.therapist_by_arm else ())),
        family=family,
        scale=scale,
        moderator=spec.moderator,
        moderator_missing=np.isnan(moderator) & ~np.isin(arm_index, list(without)),
        count=np.ones_like(y),
        fixed=fixed_parameters(family, spec.priors),
        nesting=spec.nesting(encoding.arms),
        offset=None if exposure is None else np.log(exposure),
        **clinic_parts(analysed, spec),
    )


def clinic_parts(analysed: xr.Dataset, spec: ModelSpec) -> dict[str, Any]:
    """A design's clinics, where the specification has effects of theirs."""
    if not spec.clinic_effects:
        return {}
    return {
        "clinics": tuple(map(str, analysed.coords["clinic"].values)),
        "clinic_index": analysed["clinic_index"].values.astype(np.int64),
        "clinic_effects": spec.clinic_effects,
    }


def arms_without_moderator(arms: Sequence[str], moderator: ModeratorSpec) -> frozenset[int]:
    """Positions of the arms whose patients cannot have the moderator.

    Parameters
    ----------
    arms : sequence of str
        Codes in display order.
    moderator : ModeratorSpec
    """
    if moderator.arms is None:
        return frozenset()
    return frozenset(k for k, arm in enumerate(arms) if arm not in moderator.arms)


PERFECT = 1e-4  # SD of what is left of an outcome, in its own SDs; as in `estimability`
COLLINEAR = 1e-10  # smallest eigenvalue of the columns' correlations; as in `estimability`


def moments_design(
    found: CellMoments, spec: ModelSpec, arms: Sequence[str], covariates: Sequence[Covariate]
) -> Design:
    """Design of the patients whose moments these are, without any row of theirs.

    Parameters
    ----------
    found : CellMoments
        Columns ``moderator`` and ``baseline`` (where there are any), those of the covariates,
        ``outcome``; on their own scales. The moderator is zero where patients cannot have it.
    spec : ModelSpec
        Exact: Gaussian, with the moderator as rated.
    arms : sequence of str
    covariates : sequence of Covariate

    Returns
    -------
    Design
        Standardised as `models.design.design.build_design` would; X, y and therapist_index have no
        rows.

    Raises
    ------
    InputError
        If a column follows from others.
    """
    without = arms_without_moderator(arms, spec.moderator)
    rated = ~np.isin(found.arm_index, list(without))
    if without and rated.any():
        found = _about_rated(found, rated)
    sds = np.sqrt(np.einsum("cqq->q", found.products) / (found.n - 1))
    if without and rated.any():
        k = found.columns.index("moderator")
        squares = found.products[rated, k, k].sum()
        sds[k] = np.sqrt(squares / (found.count[rated].sum() - 1))
    scales = dict(zip(found.columns, zip(found.centre.tolist(), sds.tolist(), strict=True),
                      strict=True))  # fmt: skip
    columns = [column for each in covariates for column in each.columns]
    patients = [found.n * scales[column][0] for column in columns]
    references, absent = seen_levels(covariates, patients, found.n)
    for k in absent:
        scales[columns[k]] = (0.0, 1.0)
    encoding = Encoding(
        arms=tuple(arms),
        interaction=spec.interaction,
        has_baseline="baseline" in found.columns,
        covariates=tuple(covariates),
        references=references,
        absent=absent,
        scaling=Scaling(
            scales["outcome"],
            scales.get("moderator", (0.0, 1.0)),
            scales.get("baseline", (0.0, 1.0)),
            tuple(scales[column] for column in columns),
        ),
        without_moderator=without,
    )
    size, nesting = len(encoding.terms) + 1, spec.nesting(encoding.arms)
    therapists = tuple(name for name in found.therapists if name != NOBODY)
    places = {name: k for k, name in enumerate((*therapists, NOBODY))}
    place = np.array([places[name] for name in found.therapists], dtype=np.int64)
    shape = (nesting.number, len(therapists) + bool(nesting.without))
    cross_products = np.zeros((*shape, size, size))
    count = np.zeros(shape, dtype=np.int64)
    divisors = np.array([scales[column][1] for column in found.columns])
    for arm in range(len(arms)):
        cells = np.flatnonzero(found.arm_index == arm)
        own = _with_ones(found, cells, divisors)
        A = _columns(encoding, ("intercept", *found.columns), arm)
        units, group = place[found.therapist_index[cells]], nesting.group_of(np.array([arm]))[0]
        cross_products[group, units] += A.T @ own @ A
        count[group, units] += found.count[cells]
    arm_effects = [encoding.coefficients[k] for k in encoding.places("arm")]
    design = Design(
        outcome=spec.outcome,
        encoding=encoding,
        X=np.empty((0, len(encoding.terms))),
        y=np.empty(0),
        therapist_index=np.empty(0, dtype=np.int64),
        therapists=therapists,
        effects=(*spec.effects, *(arm_effects if spec.therapist_by_arm else ())),
        family=find_family(spec.family),
        scale=Scale(*scales["outcome"], 0, 0.0, 1.0),
        moderator=spec.moderator,
        moderator_missing=np.empty(0, dtype=bool),
        count=np.empty(0),
        given=tuple(map(Moments, cross_products, count)),
        nesting=nesting,
    )
    _require_full_rank(design)
    _require_something_left(design)
    return design


def _about_rated(found: CellMoments, rated: NDArray[np.bool_]) -> CellMoments:
    """The moments with the moderator's centre at the mean of the cells that have it."""
    centre, k = found.centre.copy(), found.columns.index("moderator")
    centre[k] += found.sums[rated, k].sum() / found.count[rated].sum()
    return found.moved(found.columns, centre)


def _with_ones(found: CellMoments, cells: NDArray[np.int64], sds: Array) -> Array:
    """Products (c, q + 1, q + 1) of a column of ones and the standardised columns."""
    whole = np.empty((len(cells), len(sds) + 1, len(sds) + 1))
    whole[:, 0, 0] = found.count[cells]
    whole[:, 0, 1:] = whole[:, 1:, 0] = found.sums[cells] / sds
    whole[:, 1:, 1:] = found.products[cells] / (sds[:, None] * sds)
    return whole


def _columns(encoding: Encoding, own: Sequence[Column], arm: int) -> Array:
    """What each column of X, and the outcome, is of a patient's columns in one arm."""
    basis, slopes = sum_to_zero_basis(len(encoding.arms))[arm], encoding.slope_weights[arm]
    A = np.zeros((len(own), len(encoding.terms) + 1))
    for k, term in enumerate(encoding.terms):
        source: Column = term.kind
        weight = 1.0
        if term.kind == "arm":
            source, weight = "intercept", basis[term.number - 1]
        elif term.kind in ("moderator", "interaction"):
            source, weight = "moderator", slopes[term.number]
        elif term.kind == "covariate":
            source = encoding.columns[term.number]
            weight = float(term.number not in encoding.absent)
        if source in own:  # an absent moderator or baseline is not
            A[own.index(source), k] = weight
    A[own.index("outcome"), -1] = 1.0
    return A


def _require_full_rank(design: Design) -> None:
    kept = [k for k in design.present if design.encoding.terms[k].kind != "intercept"]
    XtX = design.moments.XtX
    centred = XtX[np.ix_(kept, kept)] - np.outer(XtX[0, kept], XtX[0, kept]) / XtX[0, 0]
    sd = np.sqrt(np.diag(centred))
    values, vectors = np.linalg.eigh(centred / (sd[:, None] * sd))
    if values[0] > COLLINEAR:
        return
    involved = [
        design.coefficients[column]
        for column, share in zip(kept, np.abs(vectors[:, 0]), strict=True)
        if share > 1e-6
    ]
    raise InputError(
        f"{design.outcome}: among the analysed patients each of these follows from the others: "
        f"{', '.join(involved)}.",
        "Leave one of them out of the study file.",
    )


def _require_something_left(design: Design) -> None:
    """Refuse an outcome that can be computed from its columns; see `trial.estimability`."""
    kept, moments = design.present, design.moments
    weights = np.linalg.solve(moments.XtX[np.ix_(kept, kept)], moments.Xty[kept])
    left = 1 - weights @ moments.Xty[kept] / moments.yty
    if left >= PERFECT**2:
        return
    used = [
        design.coefficients[column]
        for column, weight in zip(kept, weights, strict=True)
        if abs(weight) > PERFECT
    ]
    raise InputError(
        f"{design.outcome}: among the analysed patients it can be computed from "
        f"{', '.join(used)}, so that no model has anything left to explain.",
        "Check that the column holds what was measured after treatment, and not a copy or a sum "
        "of other columns.",
    )
